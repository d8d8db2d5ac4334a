"""Read and write checkpoint files: safely, and never half."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .download import check_noted
from .files import CheckpointError, atomic_path
from .public import close_name, find_weights
from .tensors import check_content, some_of
from .unpickle import unpickle

# Where the parameters may be, outermost first.
_WRAPPERS = ('state_dict', 'ema_state_dict', 'model', 'module', 'teacher')


def read_checkpoint(
    path: str | os.PathLike, map_location: str | torch.device = 'cpu', mmap: bool = False
) -> dict:
    """Read a checkpoint file without running any code it may hold.

    Args:
        path: A file written by ``torch.save``, ``*.safetensors``, or the ``*.index.json`` of one
            in several parts; or the name of public weights, which are downloaded if need be
            (:func:`~.public.find_weights`).
        map_location: Device of the tensors.
        mmap: Read a tensor of a ``torch.save`` file from the disk only when it is used. The file
            must stay as it is so long. Its values are the caller's to check
            (:func:`~.tensors.check_finite`).

    Returns:
        What the file holds. A safetensors file with a card gives
        ``{'state_dict': tensors, 'meta': {'soma': card}}``.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If the system does not let it be read.
        CheckpointError: If the file is damaged, an address, or holds more than tensors, plain data
            and what mmengine's checkpoints hold, which ``trust_files`` (``--trust``) lets in; if a
            tensor has NaN or infinity, is larger than the file, or has a name of no characters that
            can be shown; if it is another file than was downloaded.
        InputError: If public weights cannot be had.
    """
    if '://' in os.fspath(path):
        raise CheckpointError(f'{path} is no local file: download it first')
    path = Path(find_weights(path)).expanduser()
    if path.name.endswith('.index.json'):
        return _read_parts(path, map_location, mmap)
    if not path.is_file():
        hint = close_name(str(path))
        raise FileNotFoundError(f'no checkpoint at {path}' + (hint and f' ({hint})'))
    if not (size := path.stat().st_size):
        raise CheckpointError(f'{path} is empty: it was not written to its end')
    with open(path, 'rb'):  # PyTorch and safetensors would not say that it may not be read
        pass
    check_noted(path)
    with refuse_broken(path):
        if path.suffix == '.safetensors':
            content = _read_safetensors(path, map_location)
        else:
            content = unpickle(path, map_location, mmap)
    check_content(content, path, size, not mmap)
    return content


@contextmanager
def refuse_broken(name: str | os.PathLike) -> Iterator[None]:
    """Say of a file that cannot be read what is wrong with it.

    Args:
        name: The file, for the message.

    Raises:
        CheckpointError: If it is damaged or wants to run code.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        # GLOBAL since torch 2.4
        function = re.search(r'(?:GLOBAL|Unsupported class) ([\w.]+)', str(error))
        if function is None:
            raise CheckpointError(f'{name} is damaged or no checkpoint') from error
        raise CheckpointError(
            f'{name} holds more than tensors and plain data: it wants to call {function[1]}, which '
            'could run any code. It was not loaded; if you know who made it, pass --trust'
        ) from error
    except OSError:
        raise
    except Exception as error:  # broken bytes can raise anything
        if 'CUDA' in str(error):  # no such device, or its memory is full
            raise
        reason = str(error).partition('\n')[0]
        if 'TorchScript' in reason:
            raise CheckpointError(
                f'{name} is a TorchScript archive, which is code: save the state_dict() of the '
                'module in it, or take timm/... weights (docs/user_guides/weights.md)'
            ) from error
        raise CheckpointError(f'{name} is damaged or no checkpoint: {reason}') from error


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the parameters of a checkpoint file, whatever it wraps them in.

    Args:
        path: As for :func:`read_checkpoint`.

    Returns:
        Tensors by name, without a ``module.`` prefix.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or holds something else than named tensors.
    """
    return state_dict_of(read_checkpoint(path), path)


def state_dict_of(
    content: Mapping, path: str | os.PathLike, part: str | None = None
) -> dict[str, Tensor]:
    """Find the parameters in what a checkpoint file holds.

    Args:
        content: What :func:`read_checkpoint` returned.
        path: The file, for the messages.
        part: ``'state_dict'`` or ``'ema_state_dict'``; whichever there is, in this order, if None.
            In the files that mmengine's and this package's averaging hooks write, ``state_dict``
            is the average and ``ema_state_dict`` what the optimizer works on.

    Returns:
        Tensors by name, without the ``module.`` that all of them may start with.

    Raises:
        CheckpointError: If there are no named tensors.
    """
    if part is not None and not (isinstance(content, Mapping) and part in content):
        raise CheckpointError(f'{path} holds no {part}')
    has_card = bool(card_of(content))
    for key in _WRAPPERS if part is None else (part,):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f'{path} holds no parameters')
    wrong = [k for k, v in content.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if wrong:
        raise CheckpointError(f'{path} is no state dict: {wrong[:5]} are no names of tensors')
    wrapped = all(key.startswith('module.') or key == 'steps' for key in content)
    if wrapped and ('steps' in content or not has_card):  # an average's, or of several processes
        return {k.removeprefix('module.'): v for k, v in content.items() if k != 'steps'}
    return dict(content)


def card_of(content: Mapping) -> dict:
    """The card in what :func:`read_checkpoint` returned, as it stands there; {} without one."""
    meta = content.get('meta') if isinstance(content, Mapping) else None
    return (meta.get('soma') or {}) if isinstance(meta, Mapping) else {}


def pretrained_file(init_cfg: Mapping | Sequence[Mapping] | None) -> str | None:
    """The file of pretrained weights that mmengine's ``init_cfg`` names, if it names one."""
    return _pretrained(init_cfg).get('checkpoint')


def pretrained_prefix(init_cfg: Mapping | Sequence[Mapping] | None) -> str:
    """What the names in the file of :func:`pretrained_file` start with, if the config says it."""
    return _pretrained(init_cfg).get('prefix') or ''


def _pretrained(init_cfg: Mapping | Sequence[Mapping] | None) -> Mapping:
    configs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return next((config for config in configs if config['type'] == 'Pretrained'), {})


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Load parameters whose names and shapes must be exactly the model's.

    Plain weights may stand for adapted ones, whose layers split them as they come in.

    Args:
        model: Filled in place; after an error about missing names, in part.
        state: Tensors by name.
        path: Where they come from, for the message.

    Raises:
        CheckpointError: If a name is missing or unexpected or a shape differs.
    """
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    wrong = [
        f'{name} is {list(state[name].shape)} there and {list(shape)} in the model'
        for name, shape in shapes.items()
        if name in state and state[name].shape != shape
    ]
    if wrong:
        raise CheckpointError(f'{path} does not fit the model: {some_of(wrong)}')
    if unexpected := [name for name in state if name not in shapes]:
        raise CheckpointError(f'{path} does not fit the model: unexpected: {some_of(unexpected)}')
    missing, _ = model.load_state_dict(state, strict=False)  # adapted layers know what they need
    if missing:
        raise CheckpointError(f'{path} does not fit the model: missing: {some_of(missing)}')


def write_checkpoint(content: Mapping, path: str | os.PathLike) -> None:
    """Write a checkpoint under a temporary name, flush it to disk, then rename it.

    Args:
        content: What to write. Into ``*.safetensors`` go the tensors, and of ``meta`` the card
            (``meta['soma']``), as JSON.
        path: The file; its folder is made if need be. An existing file is replaced at the end.

    Raises:
        WriteError: If the system does not let it be written. Then nothing has changed.
    """
    with atomic_path(path, flush=True) as temporary, _system_errors():
        if Path(path).suffix != '.safetensors':
            with open(temporary, 'wb') as file:
                torch.save(dict(content), file)
            return
        # Tensors that share memory would be refused.
        state = content.get('state_dict', content)
        tensors = {name: value.clone().contiguous() for name, value in state.items()}
        card = card_of(content)
        metadata = {'format': 'pt', **({'soma': json.dumps(card)} if card else {})}
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(tensors, temporary, metadata)
        temporary.chmod(mode)  # it makes files that nobody else can read


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise the system's error where PyTorch's writer or safetensors' raises its own after it."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        if number := re.search(r'\(os error (\d+)\)', str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def _read_parts(path: Path, map_location: str | torch.device, mmap: bool) -> dict:
    """Read the files that an index names, as those of the Hugging Face Hub do."""
    if not path.is_file():
        raise FileNotFoundError(f'no checkpoint at {path}')
    with refuse_broken(path):
        parts = json.loads(path.read_text())['weight_map']
        files = sorted({str(name) for name in parts.values()})
    tensors = {}
    for name in files:
        if Path(name).name != name or name.endswith('.index.json'):
            raise CheckpointError(f'{path} names {name!r}, which is no file beside it')
        content = read_checkpoint(path.with_name(name), map_location, mmap)
        tensors |= {n: value for n, value in content.items() if parts.get(n) == name}
    if missing := [name for name in parts if name not in tensors]:
        raise CheckpointError(f'{path} names tensors that its files lack: {some_of(missing)}')
    return tensors


def _read_safetensors(path: Path, device: str | torch.device) -> dict:
    with safe_open(path, framework='pt', device=str(device)) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no dict
        card = (file.metadata() or {}).get('soma')
    return {'state_dict': tensors, 'meta': {'soma': json.loads(card)}} if card else tensors
