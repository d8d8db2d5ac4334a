import json
import math

import pytest
import torch

from soma.benchmark import Settings, _run_phase, run_benchmark
from soma.config import REPOSITORY
from soma.files import CheckpointError

TOY = REPOSITORY / 'configs/toy/soma_dinov2-toy_mask2former_gta2all_256x256.py'


def numbers(found):
    for value in found.values():
        if isinstance(value, dict):
            yield from numbers(value)
        elif isinstance(value, int | float):
            yield value


def test_the_script_measures_both_phases(run_tool, tmp_path):
    out = tmp_path / 'speed.json'
    options = ['--size', '300', '256', '--iters', '2', '--warmup', '1', '--batch-size', '2']
    pretrained = 'model.backbone.init_cfg.checkpoint=nowhere.pth'
    done = run_tool(
        'benchmark.py', TOY, *options, '--amp', '--out', out, '--cfg-options', pretrained
    )
    found = json.loads(out.read_text())
    assert found['config'] == TOY.stem and found['machine']['torch'] == torch.__version__
    assert found['options'] == {'model.backbone.init_cfg.checkpoint': 'nowhere.pth'}
    for phase, size in {'train': [256, 256], 'test': [300, 256]}.items():
        values = found['phases'][phase]
        assert f'│ {phase} ' in done.stdout
        assert values['size'] == size and values['batch_size'] == 2 == values['iterations']
        assert values['precision'] in ('bfloat16', 'float16') and values['weights'] == 'random'
        assert all(math.isfinite(value) and value > 0 for value in numbers(values))
        seconds = values['seconds_per_iteration']['median']
        assert values['images_per_second'] == pytest.approx(2 / seconds)
    assert not list((tmp_path / 'elsewhere').iterdir())


def test_training_starts_from_the_files_that_are_there(config_file, public_file):
    settings = Settings(config_file, iterations=1, warmup=0)
    found = run_benchmark(settings, ['train'])['phases']
    assert found.keys() == {'train'} and found['train']['precision'] == 'float32'
    assert found['train']['weights'] == str(public_file)
    assert found['train']['peak_memory_mb'] > 50  # PyTorch alone


def test_training_has_the_configs_hooks(config_file):
    hooks = [dict(type='TrainableEMAHook', momentum=2)]
    with pytest.raises(ValueError, match='momentum must be between 0 and 1'):
        _run_phase('train', Settings(config_file, options={'custom_hooks': hooks}))


def test_a_damaged_checkpoint_is_named(config_file, tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'x')
    with pytest.raises(CheckpointError, match=r'x\.pth is damaged'):
        run_benchmark(Settings(config_file, checkpoint=tmp_path / 'x.pth'), ['test'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py'], r'no config file nowhere\.py'),
        (['empty.py'], r'empty\.py is no segmentor: it has no model\.decode_head\.num_classes'),
        ([TOY, 'nowhere.pth'], r'no checkpoint at nowhere\.pth'),
        ([TOY, '--iters', '0'], r"too small: {'iterations': 0}"),
        ([TOY, '--warmup', '-1'], r"too small: {'warmup': -1}"),
        ([TOY, '--out', 'x.txt'], r'x\.txt must end in \.json'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run_here, tmp_path, arguments, message):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'empty.py').write_text('model = dict()\n')
    with pytest.raises(SystemExit, match=f'^error: [^\n]*{message}$'):
        run_here('benchmark.py', *arguments)
