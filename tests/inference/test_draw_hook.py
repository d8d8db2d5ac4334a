"""What a test draws, and what it refuses to draw before it predicts."""

import copy
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from mmengine.hooks import Hook
from PIL import Image

from soma.inference import DrawPredictionsHook, Inferencer
from soma.io.files import InputError


def draws(config, out, **options):
    config.custom_hooks.append(dict(type='DrawPredictionsHook', out_dir=str(out), **options))
    return config


@pytest.mark.parametrize(
    ('domain', 'out', 'message'),
    [
        ('citys', 'out', r"00000\.png is twice in the domain 'citys'"),
        ('images', 'gta', r'images/00000\.png would be written over'),
        ('fog', 'gta/labels/00000_labelTrainIds.png', r'nothing can be written to .*Ids\.png'),
    ],
)
def test_what_cannot_be_drawn_is_said_before_the_test(
    tiny_config, build_runner, street_data, domain, out, message
):
    tiny_config.test_dataloader = copy.deepcopy(tiny_config.test_dataloader)
    tiny_config.test_dataloader.dataset.datasets[1].domain = domain
    out = str(street_data.parent / out)
    predicted = []
    runner = build_runner(
        draws(tiny_config, out), before_test_iter=lambda *_, **__: predicted.append(1)
    )
    before = (street_data / 'images/00000.png').read_bytes()
    with pytest.raises(InputError, match=message):
        runner.test()
    assert not predicted and (street_data / 'images/00000.png').read_bytes() == before


@pytest.mark.parametrize('kind', ['CityscapesDataset', 'DomainDataset'])
def test_data_without_domains_is_drawn_into_the_folder(tiny_config, build_runner, tmp_path, kind):
    """But domains that the pipeline leaves out are missed."""
    part = copy.deepcopy(tiny_config.test_dataloader.dataset.datasets[0])
    part.pipeline[-1] = dict(type='PackSegInputs')
    part.type = kind
    if kind == 'CityscapesDataset':
        del part.domain
    tiny_config.test_dataloader = dict(tiny_config.test_dataloader, dataset=part)
    tiny_config.test_evaluator = dict(type='IoUMetric')
    runner = build_runner(draws(tiny_config, tmp_path / 'shown'))
    if kind == 'DomainDataset':
        with pytest.raises(InputError, match=r'00000\.png has lost its domain: .*PackDomainInputs'):
            runner.test()
        return
    runner.test()
    drawn = sorted(path.relative_to(tmp_path) for path in (tmp_path / 'shown').rglob('*'))
    assert [str(path) for path in drawn] == [f'shown/0000{index}.png' for index in range(4)]


def test_a_score_out_of_range_is_refused():
    assert isinstance(DrawPredictionsHook('out', 1), Hook)
    for wrong in (30, '0.5'):
        with pytest.raises(InputError, match=f'score_thr must be from 0 to 1, got {wrong!r}'):
            DrawPredictionsHook('out', wrong)


def test_without_a_display_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(plt, 'get_backend', lambda: 'agg')
    with pytest.raises(InputError, match=r'--show needs a display.*--show-dir FOLDER'):
        DrawPredictionsHook(None, show=True)


def test_classes_of_its_own_all_through(tiny_config, build_runner, tmp_path):
    """Training, scores, predictions, drawings, card and inference of three of the classes."""
    names, colours = ('sky', 'building', 'car'), [[0, 0, 250], [250, 0, 0], [0, 250, 0]]
    loaders = tiny_config.train_dataloader, tiny_config.test_dataloader
    for part in (loaders[0].dataset, *loaders[1].dataset.datasets):
        part.metainfo = dict(classes=names, palette=colours)
    tiny_config.model.decode_head.num_classes = 3
    tiny_config.val_dataloader = tiny_config.test_dataloader
    tiny_config.test_evaluator.output_dir = str(tmp_path / 'out')
    tiny_config.default_hooks.report = dict(type='DomainReportHook', page=False)
    runner = build_runner(draws(tiny_config, tmp_path / 'shown'))
    runner.train()
    runner.test()
    report = json.loads(next((tmp_path / 'work').glob('*/domains_test.json')).read_text())
    assert not [*(tmp_path / 'work').glob('*/*.html')]
    assert [*report['domains']['fog']['IoU']] == [*names]
    assert report['domains']['fog']['absent'] == ['car']
    inferencer = Inferencer(tiny_config, tmp_path / 'work/iter_4.pth', 'cpu')
    assert tuple(inferencer.classes) == names and inferencer.palette.tolist() == colours
    for path in sorted((tmp_path / 'out').rglob('*.png')):
        with Image.open(path) as image:
            ids = np.asarray(image)
        assert ids.shape == (48, 80) and ids.max() < 3
        file = tiny_config.train_dataloader.dataset.data_root + f'/images/{path.name}'
        assert (inferencer(file) == ids).mean() > 0.99  # merging rounds
        sheet = np.asarray(Image.open(tmp_path / 'shown' / path.parent.name / path.name))
        assert all((sheet == colour).all(-1).any() for colour in colours)  # in the legend
