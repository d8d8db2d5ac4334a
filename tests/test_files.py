import math
import os
import re
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from soma.checkpoints import (
    average_files,
    convert_dinov2_file,
    export_backbone,
    export_peft,
    extract_adapter,
    merge_files,
)
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    load_strictly,
    read_checkpoint,
    read_state_dict,
    state_dict_of,
    write_checkpoint,
)
from soma.io.files import InputError, atomic_path, check_output
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
    check_output(tmp_path / 'new/new.safetensors', [file, None])
    assert not [*(tmp_path / 'new').iterdir()]
    for path, message in (
        (link, 'is read too'),
        (tmp_path / 'folder.pth', 'is a directory'),
        (tmp_path / 'a.txt', r'must end in \.pth or'),
    ):
        with pytest.raises(CheckpointError, match=message):
            check_output(path, [file])


@pytest.mark.parametrize(
    'write',
    [
        lambda file, out: average_files([file, file], out),
        lambda file, out: merge_files(file, file, out),
        lambda file, out: extract_adapter(file, out),
        lambda file, out: export_backbone(file, out, 'timm'),
        lambda file, out: export_peft(file, out),
        lambda file, out: convert_dinov2_file(file, out, 32, 8),
    ],
)
def test_a_folder_that_takes_no_files_is_said_before_the_work(tmp_path, monkeypatch, write):
    write_checkpoint({'a': torch.ones(2)}, tmp_path / 'x.pth')
    monkeypatch.setattr('soma.io.checkpoint_files.unpickle', None)  # nothing is read
    message = r'^nothing can be written to the folder .*x\.pth/nope \(Not a directory\): name'
    with pytest.raises(InputError, match=message):
        write(tmp_path / 'x.pth', tmp_path / 'x.pth/nope/out.pth')


class Tensor:
    """Is unpickled as a tensor of a shape that its storage of four numbers may not have."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        storage = torch.ones(4).storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, *self.arguments, False, {})


@pytest.mark.filterwarnings('ignore:TypedStorage')
@pytest.mark.parametrize('mmap', [False, True])
@pytest.mark.parametrize(
    ('shape', 'stride'), [((10**12,), (0,)), ((10**12,), (1,)), ((2**40, 2**40), (0, 0))]
)
def test_a_size_that_asks_for_terabytes_is_refused(tmp_path, shape, stride, mmap):
    torch.save({'state_dict': {'a': Tensor(shape, stride)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth is damaged') as error:
        read_checkpoint(tmp_path / 'x.pth', mmap=mmap)
    assert '\n' not in str(error.value)
    torch.save({'a': Tensor((2, 4), (0, 1))}, tmp_path / 'x.pth')  # expanded, of few bytes
    assert torch.equal(read_state_dict(tmp_path / 'x.pth')['a'], torch.ones(2, 4))


def test_a_file_that_would_grow_in_memory_is_refused(tmp_path):
    torch.save({'a': torch.zeros(10**6)}, tmp_path / 'x.pth')
    with ZipFile(tmp_path / 'x.pth') as plain, ZipFile(tmp_path / 'y.pth', 'w', 8) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r'y\.pth is damaged .* larger than the file'):
        read_checkpoint(tmp_path / 'y.pth')


def test_a_header_that_asks_for_terabytes_is_refused(tmp_path):
    header = b'{"a": {"dtype": "F32", "shape": [1000000000000], '
    header += b'"data_offsets": [0, 4000000000000]}}'
    for length in (len(header), 2**62):
        (tmp_path / 'x.safetensors').write_bytes(length.to_bytes(8, 'little') + header)
        with pytest.raises(CheckpointError, match=r'x\.safetensors is damaged'):
            read_checkpoint(tmp_path / 'x.safetensors')


@pytest.mark.parametrize('name', ['a\x1b[31m', 'a\nb', 'a' * 2**20])
@pytest.mark.parametrize('file', ['x.pth', 'x.safetensors'])
def test_names_that_cannot_be_shown_are_refused(tmp_path, file, name):
    write_checkpoint({name: torch.ones(1)}, tmp_path / file)
    with pytest.raises(CheckpointError, match=r'x\..* a tensor of a useless name: .a') as error:
        read_checkpoint(tmp_path / file, mmap=True)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


def test_names_that_are_none_are_refused(tmp_path):
    torch.save({1: torch.ones(1)}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth is no state dict: \[1\] are no names'):
        read_state_dict(tmp_path / 'x.pth')


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('file', ['x.pth', 'x.safetensors'])
def test_what_is_not_finite_is_refused_with_file_and_tensor(tmp_path, file, value, dtype):
    state = {'fine': torch.ones(3, dtype=dtype), 'wrong': torch.ones(3, dtype=dtype)}
    state['wrong'][1] = value
    write_checkpoint(state, tmp_path / file)
    with pytest.raises(CheckpointError, match=rf'{file} has NaN or infinity in wrong: take'):
        read_state_dict(tmp_path / file)


@pytest.mark.parametrize('part', ['ema_state_dict', 'optimizer'])
def test_every_part_that_is_used_is_checked(tmp_path, part):
    state = {0: {'exp_avg': torch.tensor([math.nan])}}
    content = {'state_dict': {'a': torch.ones(1)}, 'meta': {'loss': math.nan}}
    write_checkpoint(content, tmp_path / 'x.pth')
    assert read_state_dict(tmp_path / 'x.pth')['a'] == 1
    write_checkpoint({**content, part: state}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=f'in {part}.0.exp_avg'):
        read_checkpoint(tmp_path / 'x.pth')


def test_large_values_are_finite(tmp_path):
    """Their sum is not."""
    state = {
        'single': torch.full((4,), torch.finfo(torch.float32).max),
        'half': torch.full((4,), 6e4, dtype=torch.float16),
        'eighth': torch.ones(4).to(torch.float8_e4m3fn),
        'none': torch.empty(0),
    }
    write_checkpoint(state, tmp_path / 'x.pth')
    assert read_state_dict(tmp_path / 'x.pth').keys() == state.keys()


def test_sparse_tensors_are_refused(tmp_path):
    torch.save({'state_dict': {'a': torch.eye(3).to_sparse()}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth holds state_dict\.a as torch\.sparse_coo'):
        read_checkpoint(tmp_path / 'x.pth')


def test_a_content_that_holds_itself_is_read(tmp_path):
    content = {'state_dict': {'a': torch.ones(1)}, 'meta': {}}
    content['meta']['again'] = content
    torch.save(content, tmp_path / 'x.pth')
    assert read_state_dict(tmp_path / 'x.pth')['a'] == 1


WRITE = """
import resource, signal, sys, torch
from soma.io.files import InputError
from soma.io.checkpoint_files import write_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
for path in sys.argv[1:]:
    try:
        write_checkpoint({'a': torch.ones(10_000)}, path)
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    files = [tmp_path / 'x.pth', tmp_path / 'x.safetensors']
    for file in files:
        write_checkpoint({'a': torch.zeros(2)}, file)
    old = [file.read_bytes() for file in files]
    command = [sys.executable, '-c', WRITE, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for file, line in zip(files, done.stdout.splitlines(), strict=True):
        assert line.startswith(f'{file} is not written (File too large);')
        assert line.endswith('a file that was there is as it was')
    assert [file.read_bytes() for file in files] == old and len(os.listdir(tmp_path)) == 2


def test_other_faults_of_writing_stay_what_they_are(tmp_path):
    with pytest.raises(AttributeError):
        write_checkpoint({'a': lambda: 0}, tmp_path / 'x.pth')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
def test_a_file_that_may_not_be_read_is_named(tmp_path, name, monkeypatch):
    write_checkpoint({'a': torch.zeros(2)}, tmp_path / name)

    def refuse(path, *_):  # root may read all
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr('builtins.open', refuse)
    with pytest.raises(PermissionError, match=f'Permission denied: .*{name}'):
        read_checkpoint(tmp_path / name)
