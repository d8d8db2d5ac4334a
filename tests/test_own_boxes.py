"""The config of docs/user_guides/detection.md, "Your own boxes", trains and tests."""

import json
import re

import pytest
import torch
from dataset_files import write_coco_data
from mmengine.registry import DATASETS, METRICS, DefaultScope
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from small_configs import dicts, make_short, shrink_detector

from soma.models.backbones.dinov2 import ARCHS
from soma.utils.config import REPOSITORY, load_config


@pytest.fixture
def config(tmp_path, monkeypatch, no_charts):
    """The guide's config, small, on two domains whose image ids and categories are not alike."""
    monkeypatch.chdir(tmp_path)
    for domain, first in (('day', 'a.jpg'), ('night', 'town/b.JPG')):
        write_coco_data(tmp_path / f'data/harbour/{domain}', [first, 'c.jpg'])
    text = (REPOSITORY / 'docs/user_guides/detection.md').read_text()
    ((name, code),) = re.findall(r'```python\n# (ships\.py)\n(.*?)```', text, re.DOTALL)
    (tmp_path / name).write_text(code.replace("'configs/", f"'{REPOSITORY}/configs/"))
    config = load_config(tmp_path / name)
    shrink_detector(config.model)
    config.model.backbone.arch.depth = 6
    for step in dicts(config._cfg_dict):
        for key in ('scale', 'size', 'crop_size'):
            if step.get('type') in ('RandomResize', 'Resize', 'Pad', 'RandomCrop') and key in step:
                step[key] = (64, 64)
    return make_short(config, tmp_path / 'work')


def test_the_config_of_the_guide_trains_and_tests(config, build_runner, tmp_path):
    config.test_evaluator = dict(config.test_evaluator, output_dir=str(tmp_path / 'out'))
    config.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    runner = build_runner(config)
    runner.train()
    metrics = runner.test()
    assert [*metrics] == ['day_mAP', 'night_mAP', 'mean_mAP']
    assert runner.test_dataloader.dataset.metainfo['classes'] == ('ship', 'tug')
    written = json.loads((tmp_path / 'out/night.json').read_text())
    names = {3: 'ship', 7: 'tug'}
    assert written and all(entry['category'] == names[entry['category_id']] for entry in written)
    files = {entry['image_id']: entry['file_name'] for entry in written}
    assert files.items() <= {5: 'b.JPG', 6: 'c.jpg'}.items()


@pytest.mark.parametrize('letter', 'SBL')
def test_backbones_of_the_bases_fit_their_necks(letter):
    model = load_config(REPOSITORY / f'configs/_base_/models/dinov2-{letter}_dino-4scale.py').model
    arch = model.backbone.arch
    assert arch[0].upper() == letter
    assert model.neck.in_channels == [ARCHS[arch]['embed_dim']] * 4
    assert letter == 'L' or f'vit{arch[0]}14' in model.backbone.init_cfg.checkpoint


def test_predictions_are_scored_alike_by_pycocotools(config, tmp_path):
    """Two ships, of which one is found late, after something else; a tug that is a crowd."""
    file = tmp_path / 'data/harbour/night/annotations.json'
    content = json.loads(file.read_text())
    for entry in content['annotations']:
        entry.update(area=entry['bbox'][2] * entry['bbox'][3], iscrowd=int(entry['id'] == 4))
    file.write_text(json.dumps(content))
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = DATASETS.build(config.test_dataloader.dataset.datasets[1])
    metric = METRICS.build(dict(type='DomainVOCMetric', output_dir='out', eval_mode='area'))
    metric.dataset_meta = data.metainfo
    ship, tug, nothing = [10, 20, 60, 50], [70, 10, 80, 50.5], [0, 0, 9, 9]
    predicted = [
        ([0, 0, 1], [ship, nothing, tug], [0.9, 0.8, 0.7]),
        ([0, 1], [ship, tug], [0.5, 0.9]),
    ]
    for index, (labels, boxes, scores) in enumerate(predicted):
        sample = data[index]['data_samples'].to_dict()
        del sample['gt_instances'], sample['ignored_instances']
        info = data.get_data_info(index)['instances']
        for key, flag in (('gt_instances', 0), ('ignored_instances', 1)):
            chosen = [entry for entry in info if entry['ignore_flag'] == flag]
            sample[key] = dict(
                labels=torch.tensor([entry['bbox_label'] for entry in chosen], dtype=torch.long),
                bboxes=torch.tensor([entry['bbox'] for entry in chosen]).reshape(-1, 4),
            )
        found = dict(labels=torch.tensor(labels), bboxes=torch.tensor(boxes))
        sample['pred_instances'] = found | dict(scores=torch.tensor(scores))
        metric.process({}, [sample])
    score = metric.evaluate(2)['night_mAP']
    truth = COCO(str(file))
    evaluation = COCOeval(truth, truth.loadRes('out/night.json'), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert score == pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3 + 1) / 2, abs=0.01)
    assert score == pytest.approx(100 * evaluation.stats[1], abs=100 / 101)
