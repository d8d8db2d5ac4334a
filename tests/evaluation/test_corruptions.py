"""Tests on corrupted images: what is tested, what the scores come to, what is run again."""

import json
import shutil
import sys
import types
from unittest.mock import Mock

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from soma.datasets.corrupt import CORRUPTIONS, GROUPS, Corrupt
from soma.evaluation.corruption_report import CorruptionPlan, draw, summarise, tables
from soma.evaluation.corruptions import (
    _hash_of_data,
    corrupt_data,
    make_plan,
    run_corruptions,
)
from soma.io.checkpoint_files import write_checkpoint
from soma.io.files import InputError
from soma.utils.tables import as_text


def darkened(image, name, severity):
    return image // (2 + severity + 6 * CORRUPTIONS.index(name))


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """A stand-in for the package, which darkens an image by its severity."""
    module = types.ModuleType('imagecorruptions')
    module.corrupt = lambda image, severity=1, corruption_name=None, **kwargs: darkened(
        image, corruption_name, severity
    )
    module.corruption_dict = {name: lambda x, severity: x for name in CORRUPTIONS}
    monkeypatch.setitem(sys.modules, 'imagecorruptions', module)


def test_names_groups_and_severities():
    assert make_plan(['all'], [1]).corruptions == CORRUPTIONS
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 19
    assert [len(GROUPS[name]) for name in ('benchmark', 'cityscapes-c', 'extra')] == [15, 16, 4]
    plan = make_plan(['fog', 'noise', 'shot_noise'], [3, 1, 3])
    assert plan.corruptions == ('gaussian_noise', 'shot_noise', 'impulse_noise', 'fog')
    assert plan.severities == (1, 3) and plan.pairs[:3:2] == [
        ('gaussian_noise', 1),
        ('shot_noise', 1),
    ]
    with pytest.raises(InputError, match="no corruption 'mist': choose from all, benchmark"):
        make_plan(['fog', 'mist'], [1])


def test_images_are_corrupted_at_full_size(tta, tiny_config):
    tta = tta['tta_pipeline']
    pipelines = [tiny_config.test_pipeline, tta]
    loader = dict(dataset=dict(datasets=[dict(pipeline=pipeline) for pipeline in pipelines]))
    made = corrupt_data(loader, 'fog', 2)['dataset']['datasets']
    for before, part in zip(pipelines, made, strict=True):
        load, corrupt, *rest = part['pipeline']
        assert corrupt == dict(type=Corrupt, name='fog', severity=2)
        assert [load, *rest] == before
    loader = dict(dataset=dict(pipeline=[dict(type=LoadImageFromFile)]))
    assert len(corrupt_data(loader, 'fog', 2)['dataset']['pipeline']) == 2
    with pytest.raises(InputError, match=r'^test_dataloader\.dataset\.pipeline has no step Load'):
        corrupt_data(dict(dataset=dict(pipeline=tta[1:])), 'fog', 2)


SCORES = {
    'clean': {'a': 80.0, 'b': 60.0, 'mean': 70.0},
    'snow_1': {'a': 60.0, 'b': 50.0, 'mean': 55.0},
    'snow_5': {'a': 20.0, 'b': None, 'mean': 20.0},
    'fog_1': {'a': 70.0, 'b': 40.0, 'mean': 55.0},
    'fog_5': {'a': 50.0, 'b': 30.0, 'mean': 40.0},
}
PLAN = CorruptionPlan(('snow', 'fog'), (1, 5))


def test_summary_against_the_definitions():
    halves = {key: {domain: 50.0 for domain in values} for key, values in SCORES.items()}
    report = {'scores': SCORES, 'score': 'mIoU'}
    assert summarise(report, PLAN)['a'] == {'clean': 80.0, 'mPC': 50.0, 'rPC': 62.5}
    plan = PLAN._replace(reference={'scores': halves})
    summary = report['summary'] = summarise(report, plan)
    snow, fog = (40 + 80) / 100, (30 + 50) / 100
    assert summary['a']['mCE'] == pytest.approx(100 * (snow + fog) / 2)
    assert summary['b'] == {'clean': 60.0, 'mPC': None, 'rPC': None, 'mCE': None}
    assert summary['mean']['mPC'] == 42.5 and summary['mean']['rPC'] == pytest.approx(60.71)
    *domains, last = map(as_text, tables(report, plan))
    assert [text.split(':')[0] for text in domains] == ['a', 'b', 'mean']
    rows = [line.replace('│', ' ').split() for line in domains[0].splitlines()]
    assert ['snow', '60.00', '20.00', '40.00', '120.00'] in rows
    assert ['mean', '65.00', '35.00', '50.00', '100.00'] in rows
    assert ['b', '60.00', '-', '-', '-'] in [
        line.replace('│', ' ').split() for line in last.splitlines()
    ]


def dark_copy(street_data, folder, name, severity):
    """The data with images that are corrupted on disk."""
    shutil.copytree(street_data, folder)
    for path in (folder / 'images').iterdir():
        with Image.open(path) as image:
            values = darkened(np.array(image), name, severity)
        Image.fromarray(values).save(path)


def test_scores_are_those_of_images_corrupted_before_and_are_not_computed_again(
    tiny_config, build_runner, street_data, tmp_path, monkeypatch, no_charts
):
    resize = dict(type='Resize', scale=(60, 36), keep_ratio=True)
    for part in tiny_config.test_dataloader.dataset.datasets:
        part.pipeline = [part.pipeline[0], resize, *part.pipeline[1:]]
    tiny_config.default_hooks.report = dict(type='DomainReportHook')
    runner = build_runner(tiny_config)
    runner.model.init_weights()
    tested = []
    original = type(runner).test
    monkeypatch.setattr(
        type(runner), 'test', lambda self: tested.append(self._test_evaluator) or original(self)
    )
    run_corruptions(runner, make_plan(['snow'], [5]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(runner), 'test', Mock(side_effect=KeyboardInterrupt))
        run_corruptions(runner, make_plan(['fog'], [5]))
    (log,) = (tmp_path / 'work').glob('*/*.log')
    assert 'has what is tested: the same command goes on' in log.read_text()
    report = run_corruptions(runner, make_plan(['snow', 'fog'], [5]))
    keys = ['clean', 'snow_5', 'fog_5']
    assert [evaluator.prefix for evaluator in tested] == keys
    assert report == json.loads((tmp_path / 'work/corruptions.json').read_text())
    assert list(report['scores']) == keys and report['score'] == 'mIoU'
    assert report['mean_over'] == ['citys', 'fog']
    with Image.open(tmp_path / 'work/corruptions.png') as image:
        assert min(image.size) > 100
    (metric,) = runner.test_evaluator.metrics
    assert metric.recorder is None  # of pages, whose images would be the clean ones
    files = {path.name for path in (tmp_path / 'work').glob('*/domains_test_*.json')}
    assert files == {f'domains_test_{key}.json' for key in keys}
    hub = runner.message_hub.log_scalars
    assert {key for key in hub if 'mIoU' in key} == {
        f'test/fog_5/{domain}_mIoU' for domain in ('citys', 'fog', 'mean')
    }
    dark_copy(street_data, tmp_path / 'dark', 'fog', 5)
    for part in tiny_config.test_dataloader.dataset.datasets:
        part.data_root = str(tmp_path / 'dark')
    other = build_runner(tiny_config)
    other.model.load_state_dict(runner.model.state_dict())
    scores = {key: round(value, 2) for key, value in report['scores']['fog_5'].items()}
    assert scores != {key: round(value, 2) for key, value in report['scores']['clean'].items()}
    metrics = other.test()
    assert scores == {key: metrics[f'{key}_mIoU'] for key in scores}
    with pytest.raises(InputError, match=r'work/corruptions.json is of other test data or sett'):
        run_corruptions(other, make_plan(['snow'], [1]))
    runner.model.decode_head.conv_seg.bias.data += 1
    with pytest.raises(InputError, match='is of other weights: name another --work-dir or remove'):
        run_corruptions(runner, make_plan(['snow'], [1]))


REFERENCE = {
    'score': 'mIoU',
    'mean_over': ['citys', 'fog'],
    'scores': {name: {'citys': 5, 'fog': 3, 'mean': 4} for name in ('clean', 'fog_1')},
}
OTHERS = {'clean': {'map': 5, 'mean': 5}, 'fog_1': {'map': 3, 'mean': 3}}
SHORT = {**REFERENCE['scores'], 'fog_1': {'citys': 5, 'mean': 5}}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'is no report of tools/test.py --corruptions'),
        ({**REFERENCE, 'scores': {}}, 'lacks clean, fog_1: choose'),
        ({**REFERENCE, 'scores': SHORT}, 'its fog_1 lacks the score of a domain of its clean'),
        ({**REFERENCE, 'scores': OTHERS}, r"has domains \['map', 'mean'\], this test .*'citys'"),
        ({**REFERENCE, 'score': 'mAP'}, 'has score mAP, this test mIoU'),
        ({**REFERENCE, 'mean_over': ['fog']}, r"has mean_over \['fog'\], this test"),
    ],
)
def test_a_reference_must_have_the_same(content, message, tiny_config, build_runner, tmp_path):
    (tmp_path / 'other.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        run_corruptions(build_runner(tiny_config), make_plan(['fog'], [1], tmp_path / 'other.json'))
    assert not list(tmp_path.rglob('corruptions.json'))  # before any test
    with pytest.raises(
        FileNotFoundError, match=r'none\.json does not exist: name a report of tools'
    ):
        make_plan(['fog'], [1], tmp_path / 'none.json')


def test_a_metric_not_by_domain_is_refused_before_a_test(tiny_config, build_runner, monkeypatch):
    tiny_config.test_evaluator = dict(type='IoUMetric')
    runner = build_runner(tiny_config)
    monkeypatch.setattr(type(runner), 'test', lambda self: pytest.fail('it was tested'))
    with pytest.raises(InputError, match='--corruptions needs a metric by domain'):
        run_corruptions(runner, make_plan(['fog'], [1]))


def test_what_changes_scores_is_in_the_hash(tiny_config):
    before = _hash_of_data(tiny_config)
    tiny_config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='elsewhere.pth')
    assert _hash_of_data(tiny_config) == before
    tiny_config.model.decode_head.align_corners = True
    assert (aligned := _hash_of_data(tiny_config)) != before
    tiny_config.model.data_preprocessor.mean = [1, 2, 3]
    assert _hash_of_data(tiny_config) not in (before, aligned)


def test_the_chart_names_the_domains_of_the_mean(monkeypatch):
    titles = []
    monkeypatch.setattr(
        'soma.evaluation.corruption_report.save_bars',
        lambda path, series, names, unit, title, line: titles.append(title),
    )
    report = {'scores': SCORES, 'score': 'mIoU', 'mean_over': ['b']}
    draw(None, {**report, 'summary': summarise(report, PLAN)}, PLAN)
    assert titles == ['mean mIoU of b\nclean 70.00, mPC 42.50, rPC 60.71']


def test_the_script(tiny_config, build_runner, tmp_path, run_here):
    del tiny_config.model.backbone.adapter
    model = build_runner(tiny_config).model
    write_checkpoint({'state_dict': model.state_dict()}, tmp_path / 'plain.pth')
    tiny_config.dump(tmp_path / 'tiny.py')
    files = tmp_path / 'tiny.py', tmp_path / 'plain.pth'
    options = ['--work-dir', tmp_path / 'tested', '--severities', '2', '4', '--corruptions', 'fog']
    run_here('test.py', *files, *options, '--cfg-options', 'experiment_name=corrupted')
    report = json.loads((tmp_path / 'tested/corruptions.json').read_text())
    assert list(report['scores']) == ['clean', 'fog_2', 'fog_4']
    assert report['summary']['mean']['mPC'] == pytest.approx(
        (report['scores']['fog_2']['mean'] + report['scores']['fog_4']['mean']) / 2, abs=0.01
    )
