import os

import pytest
import torch

from soma.files import atomic_path, read_checkpoint, read_state_dict, write_checkpoint


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


@pytest.mark.parametrize('wrapper', ['state_dict', 'model', 'teacher'])
def test_wrapped_states_are_found(tmp_path, wrapper):
    torch.save({wrapper: {'module.a': torch.ones(1)}, 'meta': {'iter': 3}}, tmp_path / 'x.pth')
    assert list(read_state_dict(tmp_path / 'x.pth')) == ['a']


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'a': Bomb()}, 'x.pth')
    with pytest.raises(ValueError, match=r'x\.pth holds more than tensors'):
        read_checkpoint('x.pth')
    assert not (tmp_path / 'bomb_went_off').exists()


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
