import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer
from small_configs import DETECTORS, SMALL
from speed import Settings, measure_speed
from speed_phases import _start, run_phase, synthetic_data

from soma.io.checkpoint_files import CheckpointError
from soma.utils.config import load_config

CONFIG = SMALL / 'soma_small_mask2former.py'


def measure(phase, settings):
    """As in a process of its own: mmengine shares visualizers of one name."""
    try:
        return run_phase(phase, settings)
    finally:
        for kind in (Visualizer, SegLocalVisualizer, DetLocalVisualizer):
            kind._instance_dict.clear()


def numbers(result):
    for value in result.values():
        if isinstance(value, dict):
            yield from numbers(value)
        elif isinstance(value, int | float):
            yield value


def test_the_script_measures_both_phases(run_here, tmp_path, monkeypatch, capsys):
    """Without processes of their own, which another test needs."""
    monkeypatch.setattr('speed.ProcessPoolExecutor', lambda n, _: ThreadPoolExecutor(n))
    monkeypatch.setattr('speed.run_phase', measure)
    out = tmp_path / 'speed.json'
    options = ['--size', '300', '256', '--iters', '2', '--warmup', '1', '--batch-size', '2']
    pretrained = 'model.backbone.init_cfg.checkpoint=nowhere.pth'
    arguments = [CONFIG, *options, '--amp', '--out', out, '--cfg-options', pretrained]
    run_here('analysis_tools/benchmark.py', *arguments)
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result['config'] == CONFIG.stem and result['machine']['torch'] == torch.__version__
    assert result['options'] == {'model.backbone.init_cfg.checkpoint': 'nowhere.pth'}
    for phase, size in {'train': [256, 256], 'test': [300, 256]}.items():
        values = result['phases'][phase]
        assert f'│ {phase} ' in printed
        assert values['size'] == size and values['batch_size'] == 2 == values['iterations']
        assert values['precision'] in ('bfloat16', 'float16') and values['weights'] == 'random'
        assert all(math.isfinite(value) and value > 0 for value in numbers(values))
        seconds = values['seconds_per_iteration']['median']
        assert values['images_per_second'] == pytest.approx(2 / seconds)
    assert not list((tmp_path / 'elsewhere').iterdir())


def test_training_starts_from_the_files_that_are_there(config_file, public_file):
    settings = Settings(config_file, iterations=1, warmup=0)
    result = measure('train', settings)
    assert result['precision'] == 'float32' and result['weights'] == str(public_file)
    assert result['peak_memory_mb'] > 50  # PyTorch alone


def test_weights_that_are_not_there_are_not_needed(tmp_path):
    for path in (tmp_path / 'x.pth', __file__):
        plain = dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        for backbone in (plain, dict(type='AdaptedBackbone', backbone=plain)):
            config = Config(dict(model=dict(backbone=backbone)))
            there = path == __file__
            assert _start(config, None) == (str(path) if there else 'random')
            assert (str(path) in str(config)) == there


def test_training_has_the_configs_hooks(config_file):
    hooks = [dict(type='TrainableEMAHook', momentum=2)]
    with pytest.raises(ValueError, match='momentum must be between 0 and 1'):
        measure('train', Settings(config_file, options={'custom_hooks': hooks}))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(config_file, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'x')
    with pytest.raises(CheckpointError, match=r'x\.pth is damaged'):
        measure_speed(Settings(config_file, checkpoint=tmp_path / 'x.pth'), ['test'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py'], r'no config file nowhere\.py'),
        (['empty.py'], r'empty\.py is neither segmentor nor detector: it has no [^\n]*'),
        (['sizeless.py'], r'sizeless\.py does not say how large [^\n]*; give --size WIDTH HEIGHT'),
        ([CONFIG, 'nowhere.pth'], r'no checkpoint at nowhere\.pth'),
        ([CONFIG, '--iters', '0'], r"too small: {'iterations': 0}"),
        ([CONFIG, '--warmup', '-1'], r"too small: {'warmup': -1}"),
        ([CONFIG, '--out', 'x.txt'], r'x\.txt must end in \.json'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run_here, tmp_path, arguments, message):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'empty.py').write_text('model = dict()\n')
    (tmp_path / 'elsewhere' / 'sizeless.py').write_text(
        'model = dict(backbone=dict(), bbox_head=dict(num_classes=7))\n'
    )
    with pytest.raises(SystemExit, match=f'^error: [^\n]*{message}$'):
        run_here('analysis_tools/benchmark.py', *arguments)


@pytest.mark.slow
def test_a_detector_in_both_phases(tiny_detector, tmp_path):
    path = tmp_path / 'det.py'
    tiny_detector.custom_imports = dict(imports=['soma'])
    tiny_detector.dump(path)
    for phase, batch_size in {'train': 2, 'test': 1}.items():
        result = measure(phase, Settings(path, iterations=1, warmup=0))
        assert result['size'] == [64, 48] and result['batch_size'] == batch_size
        assert all(math.isfinite(value) and value >= 0 for value in numbers(result))
        result = measure(phase, Settings(path, size=(96, 64), iterations=1, warmup=0, amp=True))
        assert result['size'] == [96, 64] and result['precision'] in ('bfloat16', 'float16')


PAD = dict(type='Pad', size=(160, 96))
HEADS = {
    'DINO': dict(bbox_head=dict(num_classes=7)),
    'FasterRCNN': dict(roi_head=dict(bbox_head=dict(num_classes=7)), rpn_head=dict()),
}


@pytest.mark.parametrize('heads', [*HEADS.values()], ids=[*HEADS])
@pytest.mark.parametrize(
    ('backbone', 'pipeline', 'size'),
    [
        (dict(img_size=64), [PAD], (160, 96)),
        (dict(img_size=64), [], (64, 64)),
        (dict(img_size=(64, 128)), [], (128, 64)),
        (dict(), [dict(type='Pad', size=(8, 8)), PAD, dict(type='Pack')], (160, 96)),
    ],
)
def test_the_size_of_a_detectors_images(heads, backbone, pipeline, size):
    config = Config(dict(model=dict(heads, backbone=backbone), train_pipeline=pipeline))
    for given, expected in ((None, size), ((30, 20), (30, 20))):
        for phase in ('train', 'test'):
            result = synthetic_data(config, phase, Settings('x.py', size=given))
            assert result == dict(type='SyntheticBoxDataset', size=expected, num_classes=7)


@pytest.mark.parametrize('path', DETECTORS, ids=lambda path: path.stem)
def test_the_detectors_of_the_configs_have_a_size(path):
    result = synthetic_data(load_config(path), 'train', Settings(path))
    assert result == dict(type='SyntheticBoxDataset', size=(1024, 1024), num_classes=7)


def test_the_size_of_a_segmentors_images(tiny_config):
    tiny_config.model.data_preprocessor.size = (32, 48)
    sizes = {
        (phase, given): synthetic_data(tiny_config, phase, Settings('x.py', size=given))['size']
        for phase in ('train', 'test')
        for given in (None, (30, 20))
    }
    assert sizes == {
        ('train', None): (48, 32),
        ('train', (30, 20)): (48, 32),
        ('test', None): (2048, 1024),
        ('test', (30, 20)): (30, 20),
    }
    del tiny_config.model.data_preprocessor.size
    with pytest.raises(ValueError, match=r'x\.py has no model\.data_preprocessor\.size'):
        synthetic_data(tiny_config, 'train', Settings('x.py'))
