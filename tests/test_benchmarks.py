"""The benchmarks against the plain way, on small settings; no time is asserted."""

import importlib
import json
import math

import pytest

from soma.checkpoints.export.onnx import export_onnx
from soma.utils.config import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / 'benchmarks'))
    return importlib.import_module


def test_linear_layers(benchmark, monkeypatch):
    linear = benchmark('linear')
    monkeypatch.setitem(linear.WIDTHS, 'S', 64)
    rows = linear.measure(('S',), ((1, 16),), (2,), repeats=1)
    assert [(r['precision'], r['rank']) for r in rows if r['arch'] == 'S'] == [
        ('float32', 16),
        ('bfloat16', 16),
    ]
    assert all(r['kept_to_two_path'] <= 1 for r in rows)


def test_deformable_attention(benchmark):
    (row,) = benchmark('attention').measure(((1, 64),), repeats=1)
    assert row['queries'] == 64 + 16 + 4
    assert row['ours_kept_mb'] == 0 and float(row['largest_difference']) < 1e-5


def test_the_plain_model_trains_what_ours_does(benchmark):
    common = benchmark('common')
    config = common.read_config('S')
    config.model.backbone.arch = dict(embed_dim=32, depth=6, num_heads=2)
    config.model.decode_head.in_channels = [32] * 4
    plain, actual = common.build_plain(config), common.build(config)

    def trained(model):
        return sum(p.numel() for p in model.parameters() if p.requires_grad)

    assert trained(plain) == trained(actual)
    heads = [model.decode_head.state_dict().keys() for model in (plain, actual)]
    assert heads[0] == heads[1]


def test_every_goal_is_written_with_its_number(benchmark, tmp_path, monkeypatch):
    run = benchmark('run')
    rows = json.loads((run.FOLDER / 'results.json').read_text())
    document = tmp_path / 'benchmarks.md'
    document.write_text(f'before {run.BEGIN} old {run.END} after')
    monkeypatch.setattr(run, 'DOCUMENT', document)
    monkeypatch.setattr(run, 'FOLDER', tmp_path / 'benchmarks')
    run.write({name: rows[name] for name in run.TITLES}, minutes=1)
    text = document.read_text()
    assert text.startswith('before') and text.endswith('after') and ' old ' not in text
    for goal in run.GOALS:
        value = goal.measured(rows)
        assert math.isfinite(value)
        assert f'| {goal.text} | {value:.3g} |' in text
    images = sorted(path.name for path in (tmp_path / 'benchmarks').glob('*.png'))
    assert images == ['blocks.png', 'image.png', 'rank.png', 'tokens.png']


def test_every_adapter_has_a_row(benchmark, monkeypatch):
    adapters = benchmark('adapters')
    monkeypatch.setattr(adapters, 'WIDTH', 32)
    rows = adapters.measure((8,), repeats=1)
    assert {row['adapter'] for row in rows} == set(adapters.ADAPTERS) - {'Rein'}
    beside = {row['adapter'] for row in rows if row['to_other'] != ''}
    assert beside == {*adapters.PEFT, 'SVF'}


def test_an_onnx_file_scores_as_its_model(benchmark, tiny_config, build_runner, tmp_path):
    runner = build_runner(tiny_config, {'train_cfg.val_interval': 9})
    runner.train()
    files = tmp_path / 'work/iter_4.pth', tmp_path / 'tiny.onnx'
    export_onnx(tiny_config, *files, dynamic=True)
    tiny_config.dump(tmp_path / 'tiny.py')
    (row,) = benchmark('onnx_files').measure(tmp_path / 'tiny.py', files[1:])
    assert row['mIoU'] == pytest.approx(runner.test()['mean_mIoU'], abs=0.02)
    assert row['images_per_second'] > 0 and row['file'] == 'tiny.onnx'
