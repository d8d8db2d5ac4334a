import os
import re
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    load_strictly,
    read_checkpoint,
    read_state_dict,
    state_dict_of,
    write_checkpoint,
)
from soma.io.files import atomic_path, check_output
from soma.io.unpickle import trust_files


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_round_trip(tmp_path, suffix):
    state = {'a': torch.randn(3), 'b': torch.arange(4).view(2, 2).T}
    path = tmp_path / 'folder' / f'file{suffix}'
    write_checkpoint(state, path)
    read = read_state_dict(path)
    assert read.keys() == state.keys() and all(torch.equal(read[k], state[k]) for k in state)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (tmp_path / 'other').touch()
    assert path.stat().st_mode == (tmp_path / 'other').stat().st_mode


@pytest.mark.parametrize('wrapper', ['state_dict', 'model', 'teacher'])
def test_wrapped_states_are_found(tmp_path, wrapper):
    torch.save({wrapper: {'module.a': torch.ones(1)}, 'meta': {'iter': 3}}, tmp_path / 'x.pth')
    assert list(read_state_dict(tmp_path / 'x.pth')) == ['a']


def test_code_in_a_file_is_run_only_when_trusted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'a': Bomb()}, 'x.pth')
    for mmap in (False, True):
        with pytest.raises(
            CheckpointError, match=r'x\.pth holds more .* wants to call posix\.mkdir'
        ):
            read_checkpoint('x.pth', mmap=mmap)
    with trust_files(False), pytest.raises(CheckpointError):
        read_checkpoint('x.pth')
    assert not (tmp_path / 'bomb_went_off').exists()
    with trust_files():
        read_checkpoint('x.pth')
    assert (tmp_path / 'bomb_went_off').exists()
    with pytest.raises(CheckpointError):  # trust ends with the block
        read_checkpoint('x.pth')


@pytest.mark.parametrize('core', ['core', '_core'])
def test_what_mmengines_checkpoints_hold_is_read(tmp_path, core):
    """Under either version of numpy, which has renamed its core."""
    history = HistoryBuffer([1.5, 2.5], [1, 2], max_length=7)
    content = {
        'message_hub': {'log_scalars': {'loss': history}, 'info': {'lr': np.float64(0.5)}},
        'meta': {'palette': np.arange(6).reshape(2, 3)},
    }
    torch.save(content, tmp_path / 'new.pth')
    with ZipFile(tmp_path / 'new.pth') as new, ZipFile(tmp_path / 'x.pth', 'w') as old:
        for name in new.namelist():
            data = new.read(name)
            if name.endswith('data.pkl'):
                data = re.sub(rb'numpy\._?core\.', f'numpy.{core}.'.encode(), data)
                assert b'HistoryBuffer' in data and f'numpy.{core}.'.encode() in data
            old.writestr(name, data)
    read = read_checkpoint(tmp_path / 'x.pth')
    expected = {'log_history': [1.5, 2.5], 'count_history': [1, 2], 'max_length': 7}
    assert read['message_hub']['log_scalars']['loss'] == expected
    assert read['message_hub']['info']['lr'] == 0.5
    assert (read['meta']['palette'] == content['meta']['palette']).all()


def test_a_card_travels_with_the_tensors(tmp_path):
    card = {'method': 'SoMA', 'rank': 2, 'targets': ['a']}
    for name in ('x.pth', 'x.safetensors'):
        write_checkpoint(
            {'state_dict': {'a': torch.ones(2)}, 'meta': {'soma': card}}, tmp_path / name
        )
        content = read_checkpoint(tmp_path / name)
        assert card_of(content) == card and list(read_state_dict(tmp_path / name)) == ['a']
    assert card_of({'a': torch.ones(1)}) == {}


def test_tensors_that_share_memory_are_written(tmp_path):
    whole = torch.arange(6.0)
    write_checkpoint({'a': whole[:3], 'b': whole[3:], 'c': whole}, tmp_path / 'x.safetensors')
    assert torch.equal(read_state_dict(tmp_path / 'x.safetensors')['b'], whole[3:])


def test_an_average_is_found_where_it_stands_alone(tmp_path):
    average = {'module.a': torch.ones(1), 'steps': torch.tensor(4)}
    torch.save({'ema_state_dict': average}, tmp_path / 'x.pth')
    assert list(read_state_dict(tmp_path / 'x.pth')) == ['a']
    content = {'state_dict': {'a': torch.zeros(1)}, 'ema_state_dict': average}
    assert state_dict_of(content, 'x')['a'] == 0
    assert state_dict_of(content, 'x', 'ema_state_dict')['a'] == 1
    with pytest.raises(CheckpointError, match='x holds no ema_state_dict'):
        state_dict_of({'state_dict': {}}, 'x', 'ema_state_dict')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('bias'), 'x does not fit the model: missing: bias$'),
        (lambda s: s.update(a=torch.ones(1)), 'unexpected: a$'),
        (lambda s: s.update(bias=torch.ones(7)), r'bias is \[7\] there and \[2\] in the model'),
    ],
)
def test_loading_names_what_does_not_fit(change, message):
    layer = torch.nn.Linear(3, 2)
    state = {name: torch.zeros_like(value) for name, value in layer.state_dict().items()}
    load_strictly(layer, state, 'x')
    assert not layer.weight.any()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_strictly(layer, state, 'x')


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
def test_damaged_and_missing_files_are_named(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=name):
        read_checkpoint(path)
    write_checkpoint({'a': torch.randn(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=name):
        read_checkpoint(path)


def test_something_else_is_no_state_dict(tmp_path):
    torch.save({'a': 1}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r"x\.pth is no state dict: \['a'\]"):
        read_state_dict(tmp_path / 'x.pth')


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_text('old')
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text('half')
        raise KeyboardInterrupt
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_an_output_that_would_lose_something_is_refused(tmp_path):
    file, link = tmp_path / 'a.pth', tmp_path / 'b.pth'
    file.touch()
    link.symlink_to(file)
    (tmp_path / 'folder.pth').mkdir()
    check_output(file)
    check_output(tmp_path / 'new.safetensors', [file, None])
    for path, message in (
        (link, 'is read too'),
        (tmp_path / 'folder.pth', 'is a directory'),
        (tmp_path / 'a.txt', r'must end in \.pth or'),
    ):
        with pytest.raises(CheckpointError, match=message):
            check_output(path, [file])
