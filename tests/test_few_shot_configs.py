"""The configs of few-shot segmentation train and test, on a small model and small random data."""

import re

import numpy as np
import pytest
from PIL import Image
from small_configs import FEW_SHOT, dicts, make_short, without_validation

from soma.checkpoints.open import load_plain
from soma.datasets.episodes import PascalMaskDataset
from soma.datasets.lists import write_names
from soma.datasets.prepare.check import check_config
from soma.io.files import InputError
from soma.models.build import use_plain_model
from soma.utils.config import load_config

SIZE = (64, 48)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with ``data`` as the configs read it: each image has all classes, in blocks."""
    root = tmp_path_factory.mktemp('few_shot') / 'data'
    voc, coco = root / 'VOCdevkit/VOC2012', root / 'coco'
    names = [str(index) for index in range(7)]
    for name in ('trainaug', 'val'):
        write_names(voc / f'ImageSets/Segmentation/{name}.txt', names)
    folders = [(voc / 'JPEGImages', voc / 'SegmentationClassAug', 21)]
    folders += [
        (coco / split, coco / f'semantic/{split}', 81) for split in ('train2014', 'val2014')
    ]
    rng = np.random.default_rng(0)
    for images, masks, classes in folders:
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for name in names:
            noise = rng.integers(0, 255, (*SIZE[::-1], 3)).astype(np.uint8)
            Image.fromarray(noise).save(images / f'{name}.jpg')
            blocks = np.resize(rng.permutation(classes), (12, 16)).astype(np.uint8)
            Image.fromarray(blocks.repeat(4, 0).repeat(4, 1)).save(masks / f'{name}.png')
    return root.parent


def small(path, **options):
    """A config with other sizes, not another make."""
    config = load_config(path, {'shots': 1, **options})
    config.model.data_preprocessor.size = (32, 32)
    backbone = config.model.backbone
    if backbone.type == 'AdaptedBackbone':
        backbone.backbone.update(base_channels=8, init_cfg=None)
    else:
        backbone.update(arch=dict(embed_dim=16, depth=12, num_heads=2), img_size=28, init_cfg=None)
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.update(min_pixels=16, episodes=3)
    for step in dicts(config._cfg_dict):
        if step.get('type') == 'Resize':
            step.scale = (32, 32)
    return config


@pytest.mark.parametrize('path', FEW_SHOT, ids=lambda path: path.stem)
def test_configs_are_what_their_names_say(path):
    config = load_config(path, {'fold': 2})
    backbone, _, data, _ = path.stem.removeprefix('svf_').split('_')
    shots = int(re.search(r'-(\d)shot', data)[1])
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert (dataset.fold, dataset.shots) == (2, shots)
        assert dataset.split == ('base' if split == 'train' else 'novel')
        assert dataset.folds == ('strided' if 'coco' in data else 'blocks')
        assert dataset.dataset.domain == ('coco' if 'coco' in data else 'voc')
        assert 'min_pixels' not in dataset  # 2 x 32 x 32
    assert config.test_dataloader.dataset.episodes == 1000
    kind = 'AdaptedBackbone' if backbone == 'r50' else 'DINOv2'
    assert config.model.backbone.type == kind and config.model.backbone.adapter.type == 'SVF'


def test_there_is_a_config_for_each_setting():
    assert len(FEW_SHOT) == 2 * 2 * 2


@pytest.mark.slow
@pytest.mark.parametrize('path', [FEW_SHOT[2], FEW_SHOT[5]], ids=lambda path: path.stem)
def test_some_train_and_test(path, folder, tmp_path, monkeypatch, build_runner, no_charts):
    monkeypatch.chdir(folder)
    config = make_short(small(path, shots=2), tmp_path)
    losses = []

    def after_train_iter(runner, batch_idx, data_batch, outputs):
        losses.append(outputs['loss'])

    runner = build_runner(without_validation(config), after_train_iter=after_train_iter)
    assert {
        name.rpartition('.')[2] for name, p in runner.model.named_parameters() if p.requires_grad
    } == {'S'}
    runner.train()
    assert len(losses) == 2 and np.isfinite(losses).all()
    scores = runner.test()
    assert scores.keys() == {'mIoU', 'FB-IoU'}
    assert all(0 <= value <= 100 for value in scores.values())
    if 'pascal5i' not in path.stem:
        return
    runner.save_checkpoint(tmp_path, 'fold0.pth')
    config = make_short(small(path, shots=2, fold=2), tmp_path)
    left_out = use_plain_model(config)
    other = build_runner(config)
    card = load_plain(other.model, tmp_path / 'fold0.pth', left_out=left_out)
    assert card.episode_classes == [*PascalMaskDataset.METAINFO['classes'][6:]]
    with pytest.raises(InputError, match=r'^test_dataloader: .* 5 novel .* as diningtable: '):
        other.test()


def test_the_best_checkpoint_is_by_a_score_that_there_is(
    folder, tmp_path, monkeypatch, build_runner
):
    monkeypatch.chdir(folder)
    config = make_short(small(FEW_SHOT[2]), tmp_path)
    config.default_hooks.checkpoint.save_best = 'mean_mIoU'
    with pytest.raises(InputError, match=r"save_best='mean_mIoU' is none .*: mIoU, FB-IoU$"):
        build_runner(config).train()
    config.val_evaluator.type = 'DomainIoUMetric'
    with pytest.raises(InputError, match=r'EpisodeDataset have a class_name .* a domain: '):
        build_runner(config).train()


def test_the_data_of_a_config_can_be_checked(folder, monkeypatch):
    monkeypatch.chdir(folder)
    train, test = check_config(small(FEW_SHOT[2]))
    assert (train.name, test.name) == ('train voc', 'val voc')
    assert not train.faults and len(train.pairs) == 7
    assert train.counts.names[:2] == ('background', 'aeroplane')
