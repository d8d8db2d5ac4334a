"""Checkpoints by other names: of a model on the Hugging Face Hub, of a folder."""

from __future__ import annotations

import functools
import logging
import os
import re
from contextlib import suppress
from pathlib import Path

from .files import CheckpointError, InputError

ADAPTER_FILE = 'adapter.safetensors'
_SUFFIXES = ('.safetensors', '.pth', '.pt')  # of checkpoints
_PART = r'[A-Za-z0-9][\w.-]*'
_MODEL = re.compile(rf'{_PART}/{_PART}')


def is_model_name(path: str | os.PathLike) -> bool:
    """Whether it has the form of a model's name, ``user/name``, and is no file or folder here.

    ``timm/...`` are pretrained weights, ``work_dirs/...`` and ``checkpoints/...`` files.
    """
    if not isinstance(path, str) or not _MODEL.fullmatch(path) or os.path.exists(path):
        return False
    is_local = path.endswith(('.pth', '.pt', '.safetensors', '.py'))
    return not is_local and path.split('/')[0] not in ('timm', 'work_dirs', 'checkpoints')


def find_adapter(path: str | os.PathLike, revision: str | None = None) -> str | os.PathLike:
    """Find the checkpoint that a folder means, or fetch that of a model named as on the hub.

    Of the hub, only ``adapter.safetensors`` is fetched, which cannot hold code, and once: it is
    kept in the cache of ``huggingface_hub``.

    Args:
        path: ``'user/name'``, or as for :func:`checkpoint_in`.
        revision: Branch, tag or commit of the model; the newest if None.

    Returns:
        The local file.

    Raises:
        InputError: As for :func:`checkpoint_in`; if there is no such model, file or revision, or no
            network; or a revision is given for what is no name of a model.
    """
    if not is_model_name(path):
        if revision is not None:
            raise InputError(f'{path} is no name of a model on the hub: leave revision out')
        return checkpoint_in(path)
    import huggingface_hub  # here, since it takes its time
    from huggingface_hub import errors

    address = f'{huggingface_hub.constants.ENDPOINT}/{path}'
    try:
        reached = _is_reached(huggingface_hub.hf_hub_url(path, ADAPTER_FILE, revision=revision))
        options = {'revision': revision, 'local_files_only': not reached}
        return Path(huggingface_hub.hf_hub_download(path, ADAPTER_FILE, **options))
    except errors.RevisionNotFoundError as error:
        raise InputError(f'{address} has no revision {revision}') from error
    except errors.GatedRepoError as error:
        raise InputError(
            f'{address} is given to those who ask for it there: ask, then run hf auth login'
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f'there is no file or folder {path}, nor a model {address} that you may see '
            '(a private one needs: hf auth login)'
        ) from error
    except errors.LocalEntryNotFoundError as error:  # an EntryNotFoundError, too
        raise InputError(
            f'there is no file or folder {path}, and {address} cannot be reached: fetch '
            f'{address}/resolve/{revision or "main"}/{ADAPTER_FILE} elsewhere and name that file'
        ) from error
    except errors.EntryNotFoundError as error:
        raise InputError(
            f'{address} has no {ADAPTER_FILE}, and other files are not read: it is no model of '
            'tools/push_to_hub.py'
        ) from error
    except (*network_errors(), errors.HFValidationError) as error:
        raise InputError(f'{address} cannot be fetched: {error}'.partition('\n')[0]) from error


def checkpoint_in(path: str | os.PathLike) -> str | os.PathLike:
    """The checkpoint that a folder means; anything else is returned as it is.

    That is the best one of a work dir (the newest ``best_*.pth``, but of no earlier training than
    ``last_checkpoint``), else its last one, which is logged; of another folder the only one.

    Raises:
        InputError: If the folder has none, the best of several scores, or several of other names.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    last = last_in(folder)
    files = sorted((last.parent if last else folder).glob('[!.]*'))
    files = [file for file in files if file.suffix in _SUFFIXES]
    best = [file for file in files if file.match('best_*.pth') and not _is_earlier(file, last)]
    if len({re.sub(r'_[^_]+_\d+(-\w+)?$', '', file.stem) for file in best}) > 1:
        files = best  # of several scores
    elif best:
        file = max(best, key=lambda file: file.stat().st_mtime_ns)
        _log_once(f'{folder}: its best checkpoint {file.name} is taken')
        return file
    elif last:
        _log_once(f'{folder}: its last checkpoint {last.name} is taken, that training has no best')
        return last
    if len(files) != 1:
        names = ', '.join(file.name for file in files) or 'none'
        advice = 'name one' if files else 'train first, or name a file'
        raise InputError(f'the folder {folder} must have one checkpoint, it has {names}: {advice}')
    return files[0]


def last_in(work_dir: str | os.PathLike) -> Path | None:
    """The last checkpoint of a training, as ``last_checkpoint`` in its work dir tells, if any.

    A copied work dir has its own; one without checkpoints tells where they are.
    """
    folder, pointer = Path(work_dir), Path(work_dir, 'last_checkpoint')
    if not pointer.is_file():
        return None
    named = Path(pointer.read_text().strip())
    if any(folder.glob('*.pth')) or not os.path.isfile(named):
        named = folder / named.name
    return named if os.path.isfile(named) else None


def _is_earlier(best: Path, last: Path | None) -> bool:
    """Whether a best checkpoint is of an earlier training than the last one of its folder."""
    from .checkpoint_files import read_checkpoint  # here, since it loads torch

    if last is None or best.stat().st_mtime_ns >= last.stat().st_mtime_ns:
        return False
    with suppress(CheckpointError, KeyError):
        info = read_checkpoint(last, mmap=True)['message_hub']['runtime_info']
        files = (file for key, file in info.items() if key.startswith('best_ckpt'))
        return best.name not in {Path(file).name for file in files if file}
    return False  # nobody knows


@functools.cache
def _log_once(line: str) -> None:
    """Log what a user should see, once though a file may be looked for several times."""
    logging.getLogger(__name__).warning(line)


def _is_reached(address: str) -> bool:
    """Whether there is a network; asked once, where a download would ask for half a minute."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        huggingface_hub.get_hf_file_metadata(address)
    except (
        errors.EntryNotFoundError,
        errors.HFValidationError,
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
    ):
        raise
    except network_errors():
        return False
    return True


def network_errors() -> tuple[type[Exception], ...]:
    """What ``huggingface_hub`` raises if there is no network, or it may not use one."""
    from huggingface_hub.errors import HfHubHTTPError

    return HfHubHTTPError.__bases__  # OSError, and that of the library for requests, which changes
