"""No script runs code from a file, and each says in one line what is wrong with one."""

import os
import shutil

import pytest
import torch
from mmengine.registry import RUNNERS

from soma.checkpoints import convert_dinov2_file, extract_adapter
from soma.io.checkpoint_files import read_checkpoint, read_state_dict, write_checkpoint


class Bomb:
    """Creates a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)


@pytest.fixture(scope='session')
def streets(street_data):
    return street_data / 'images'


@pytest.fixture(scope='module')
def trained(make_tiny, public_file, tmp_path_factory):
    """Files of a training."""
    folder = tmp_path_factory.mktemp('trained')
    convert_dinov2_file(public_file, folder / 'base.pth', (32, 32), 8)
    config = make_tiny(folder)
    config.model.backbone.init_cfg.checkpoint = str(folder / 'base.pth')
    config.train_cfg.max_iters, config.experiment_name = 1, folder.name
    RUNNERS.build(config).train()
    (folder / 'iter_1.pth').rename(folder / 'final.pth')
    extract_adapter(folder / 'final.pth', folder / 'adapter.safetensors')
    return folder


@pytest.fixture
def good(tiny_config, trained, tmp_path):
    """Files that are as they should be."""
    for name in ('base.pth', 'final.pth', 'adapter.safetensors'):
        shutil.copy(trained / name, tmp_path)
    tiny_config.model.backbone.init_cfg.checkpoint = str(tmp_path / 'base.pth')
    return tmp_path


# script, arguments, with FILE for the one under test
USES = {
    'train load_from': ('train.py', 'CONFIG --cfg-options load_from=FILE'),
    'train resume': ('train.py', 'CONFIG --resume FILE'),
    'train init_cfg': ('train.py', 'CONFIG --cfg-options model.backbone.init_cfg.checkpoint=FILE'),
    'train head': (
        'train.py',
        'CONFIG --cfg-options model.decode_head.init_cfg.type=Pretrained '
        'model.decode_head.init_cfg.checkpoint=FILE',
    ),
    'test': ('test.py', 'CONFIG FILE'),
    'test backbone': ('test.py', 'CONFIG adapter.safetensors --backbone FILE'),
    'visualize': ('visualize.py', 'CONFIG FILE STREETS --save-dir out'),
    'visualize backbone': (
        'visualize.py',
        'CONFIG adapter.safetensors STREETS --save-dir out --backbone FILE',
    ),
    'analyze': ('analysis_tools/analyze_spectrum.py', 'FILE --against base.pth'),
    'extract': ('extract_soma_weights.py', '--final_ckpt FILE --soma_ckpt out.safetensors'),
    'merge': (
        'merge_soma_weights.py',
        '--backbone_ckpt base.pth --soma_ckpt FILE --merged_ckpt out.pth',
    ),
    'merge backbone': (
        'merge_soma_weights.py',
        '--backbone_ckpt FILE --soma_ckpt adapter.safetensors --merged_ckpt out.pth',
    ),
    'average': ('model_reparameterization.py', 'out.pth --checkpoints final.pth FILE'),
    'export': ('export_adapter.py', 'FILE out --to peft --backbone_ckpt base.pth'),
    'export backbone': (
        'export_adapter.py',
        'adapter.safetensors out.pth --to dinov2 --backbone_ckpt FILE',
    ),
    'convert': ('convert_models/convert_dinov2.py', 'FILE out.pth'),
}


@pytest.fixture
def complain(good, config_file, run_here, streets, capsys):
    """Run a script on a file that it must refuse; its message."""

    def run(use, file):
        script, text = USES[use]
        names = {'CONFIG': config_file, 'FILE': file, 'STREETS': streets}
        names |= {n: good / n for n in ('base.pth', 'final.pth', 'adapter.safetensors')}
        arguments = []
        for argument in text.split():
            key, _, value = argument.rpartition('=')
            value = str(names.get(value, value))
            arguments.append(f'{key}={value}' if key else value)
        with pytest.raises(SystemExit) as caught:
            run_here(script, *arguments)
        message = str(caught.value)
        assert message.startswith('error: ') and '\n' not in message
        here = good / 'elsewhere'
        written = [file for path in here.glob('*out*') for file in (path, *path.rglob('*'))]
        assert not (here / 'bomb_went_off').exists() and not [f for f in written if f.is_file()]
        return message

    return run


@pytest.mark.parametrize('use', USES)
def test_code_in_a_file_is_not_run(complain, good, use):
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': Bomb()}, good / 'x.pth')
    assert f'wants to call {os.mkdir.__module__}.mkdir' in complain(use, good / 'x.pth')
    (good / 'x.pth').rename(good / 'x.safetensors')  # nor under another name
    assert 'x.safetensors is damaged' in complain(use, good / 'x.safetensors')


@pytest.mark.parametrize('use', USES)
def test_damaged_files_are_named(complain, good, use):
    for name in ('final.pth', 'adapter.safetensors'):
        content, bad = (good / name).read_bytes(), good / f'bad_{name}'
        bad.write_bytes(content[: len(content) // 2])
        assert f'{bad.name} is damaged' in complain(use, bad)
        bad.write_bytes(b'')
        assert f'{bad.name} is empty' in complain(use, bad)
    assert 'no checkpoint at' in complain(use, good / 'nowhere.pth')


WEIGHTS = [use for use in USES if use not in ('convert', 'train head', 'extract', 'analyze')]


@pytest.mark.parametrize('use', WEIGHTS)
def test_another_architecture_is_named(complain, good, use):
    backbone = 'backbone' in use or 'init_cfg' in use
    file = good / ('base.pth' if backbone else 'final.pth')
    state = {
        name: value[..., :-2]
        if name.endswith(('proj.weight', 'qkv.weight', '.A', '.A0'))
        else value
        for name, value in read_state_dict(file).items()
    }
    write_checkpoint({'state_dict': state}, good / 'other.pth')
    assert 'other.pth' in complain(use, good / 'other.pth')


@pytest.mark.parametrize('use', ['train load_from', 'train resume', 'test', 'visualize'])
def test_another_number_of_classes_is_named(complain, good, use):
    content = read_checkpoint(good / 'final.pth')
    state = content['state_dict']
    for name in ('weight', 'bias'):
        state[f'decode_head.conv_seg.{name}'] = state[f'decode_head.conv_seg.{name}'][:7]
    write_checkpoint(content, good / 'other.pth')
    message = complain(use, good / 'other.pth')
    assert 'decode_head.conv_seg.weight is [7, ' in message and '[19, ' in message


def test_trust_lets_a_pickle_in(good, run_here):
    content = read_checkpoint(good / 'final.pth')
    torch.save({**content, 'extra': Bomb()}, good / 'x.pth')
    script, arguments = 'extract_soma_weights.py', ['--final_ckpt', good / 'x.pth']
    run_here(script, *arguments, '--soma_ckpt', 'out.safetensors', '--trust')
    assert (good / 'elsewhere' / 'bomb_went_off').is_dir()
    assert (good / 'elsewhere' / 'out.safetensors').is_file()
