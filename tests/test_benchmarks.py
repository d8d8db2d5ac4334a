"""The benchmarks against the plain way, on small settings; no time is asserted."""

import importlib
import json
import math
import sys
from functools import partial
from types import SimpleNamespace

import pytest
from small_configs import SMALL

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


def test_packed_images_are_compared(benchmark, monkeypatch):
    loading = benchmark('loading')
    monkeypatch.setattr(loading, 'SIZE', (640, 320))
    rows = loading.measure(count=2, rounds=2)
    assert [row['step'] for row in rows][::6] == ['LoadImageFromFile', 'PackDomainInputs']
    assert rows[-1]['step'] == 'all' and 0 < rows[-1]['size'] < 3
    assert rows[-1]['folder_ms'] == pytest.approx(sum(r['folder_ms'] for r in rows[:-1]), abs=1)


def test_heads_are_timed_beside_each_other(benchmark):
    rows = benchmark('heads').measure(archs=('small',), sizes=(64,), repeats=1)
    assert [row['head'] for row in rows] == ['mask2former', 'semfpn', 'eomt']
    assert rows[0]['test_speed'] == rows[0]['step_speed'] == 1
    assert all(row['test_s'] > 0 and row['step_s'] > 0 for row in rows)


def test_every_adapter_has_a_row(benchmark, monkeypatch):
    adapters = benchmark('adapters')
    monkeypatch.setattr(adapters, 'WIDTH', 32)
    rows = adapters.measure((8,), repeats=1)
    assert {row['adapter'] for row in rows} == set(adapters.ADAPTERS) - {'Rein'}
    beside = {row['adapter'] for row in rows if row['to_other'] != ''}
    assert beside == {*adapters.PEFT, 'SVF'}


def test_operators_are_compared_with_compiled_ones(benchmark, monkeypatch):
    operators = benchmark('operators')
    module = operators.COMPILED_MODULE
    monkeypatch.setattr(operators, 'cases', partial(operators.cases, size=8))
    monkeypatch.setitem(sys.modules, module, operators.extension)
    assert operators.measure('cpu') == []

    def fail(*arguments, **options):
        raise RuntimeError('not implemented for CPU')

    compiled = SimpleNamespace()
    for name in operators.extension._MODULE_OF:
        setattr(compiled, name, getattr(operators.extension, name))
    compiled.roi_align_forward = lambda x, rois, out, *args, **options: out.fill_(1)
    compiled.sigmoid_focal_loss_forward = fail
    monkeypatch.setitem(sys.modules, module, compiled)
    rows = {row['operator']: row for row in operators.measure('cpu')}
    assert rows['nms']['largest_relative_difference'] == 0 < rows['nms']['speed']
    assert rows['multi_scale_deform_attn']['largest_relative_difference'] == 0
    assert rows['roi_align']['largest_relative_difference'] > 0.1
    assert rows['focal_loss']['not_run'] == 'compiled: not implemented for CPU' and len(rows) == 6


def test_without_a_gpu_its_check_says_what_was_not_run(benchmark, monkeypatch, tmp_path, capsys):
    check = benchmark('gpu_check')
    monkeypatch.setattr(check.torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(check, 'SMALL', (SMALL / 'soma_small_mask2former.py', 'no/such_config.py'))
    monkeypatch.setattr('sys.argv', ['gpu_check.py', '--out', str(tmp_path)])
    assert check.main() == 1  # of the config that is not there
    result = json.loads((tmp_path / 'gpu_check.json').read_text())
    assert result['tests'] == [{'test': 'tests/ops on CUDA', 'not_run': check.NO_GPU}]
    assert result['operators'][0]['not_run'] == 'not run: mmcv has no compiled operators'
    assert result['configs'][0]['peak_mb'] > 100
    rows = {row['config']: row for row in result['configs']}
    assert rows['such_config']['not_run'].startswith('failed: ')
    waiting = [name for name, row in rows.items() if row.get('not_run') == check.NO_GPU]
    assert len(waiting) == len(check.CONFIGS)
    assert 'not run: no GPU' in (tmp_path / 'gpu_check.md').read_text()
    assert not check.has_failed(result['tests'][0]) and check.has_failed({'failed': 'test_nms'})
    with pytest.raises(check.OutOfTimeError):
        check.Check(0, tmp_path).run('-c', '')


def test_an_onnx_file_scores_as_its_model(benchmark, tiny_config, build_runner, tmp_path):
    runner = build_runner(tiny_config, {'train_cfg.val_interval': 9})
    runner.train()
    files = tmp_path / 'work/iter_4.pth', tmp_path / 'tiny.onnx'
    export_onnx(tiny_config, *files, dynamic=True)
    tiny_config.dump(tmp_path / 'tiny.py')
    (row,) = benchmark('onnx_files').measure(tmp_path / 'tiny.py', files[1:])
    assert row['mIoU'] == pytest.approx(runner.test()['mean_mIoU'], abs=0.02)
    assert row['images_per_second'] > 0 and row['file'] == 'tiny.onnx'


def test_two_processes_hold_half_each(benchmark):
    sizes = dict(size=32, steps=1, depth=2, embed_dim=64, num_heads=2)
    rows = benchmark('sharding').measure(**sizes)
    assert [row['processes'] for row in rows] == [1, 2] * 3
    for one, two in zip(rows[::2], rows[1::2], strict=True):
        for name in ('parameters_mb', 'gradients_mb', 'optimizer_mb'):
            assert two[name] == pytest.approx(one[name] / 2, abs=0.06), name
