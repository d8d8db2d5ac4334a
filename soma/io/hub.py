"""Checkpoints by other names: of a model on the Hugging Face Hub, of a folder."""

from __future__ import annotations

import functools
import logging
import os
import re
from pathlib import Path

from .files import InputError

ADAPTER_FILE = 'adapter.safetensors'
_SUFFIXES = ('.safetensors', '.pth', '.pt')  # of checkpoints
_PART = r'[A-Za-z0-9][\w.-]*'
_MODEL = re.compile(rf'{_PART}/{_PART}')


def is_model_name(path: str | os.PathLike) -> bool:
    """Whether it has the form of a model's name, ``user/name``, and is no file or folder here.

    What begins with ``timm/`` are pretrained weights.
    """
    if not isinstance(path, str) or not _MODEL.fullmatch(path) or os.path.exists(path):
        return False
    return not path.endswith(('.pth', '.pt', '.safetensors', '.py')) and path[:5] != 'timm/'


def find_adapter(path: str | os.PathLike, revision: str | None = None) -> str | os.PathLike:
    """Find the checkpoint that a folder means, or fetch that of a model named as on the hub.

    Of the hub, only ``adapter.safetensors`` is fetched, which cannot hold code, and once: it is
    kept in the cache of ``huggingface_hub``.

    Args:
        path: A folder, as for :func:`checkpoint_in`, or ``'user/name'``; anything else is returned
            as it is.
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

    That is the best one of a work dir (the newest ``best_*.pth``), else its last one (as
    ``last_checkpoint`` says), which is logged; of another folder the only one.

    Raises:
        InputError: If the folder has none, or several without such names.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return path
    files = [file for file in sorted(folder.glob('[!.]*')) if file.suffix in _SUFFIXES]
    if best := [file for file in files if file.match('best_*.pth')]:
        file = max(best, key=lambda file: file.stat().st_mtime_ns)
        _log_once(f'{folder}: its best checkpoint {file.name} is taken')
        return file
    if (pointer := folder / 'last_checkpoint').is_file():
        named = Path(pointer.read_text().strip())
        for file in (folder / named.name, named):  # a copied folder has its own
            if file.is_file():
                _log_once(f'{folder}: its last checkpoint {file.name} is taken, none is the best')
                return file
    if len(files) != 1:
        names = ', '.join(file.name for file in files) or 'none'
        raise InputError(f'the folder {folder} must have one checkpoint, it has {names}: name one')
    return files[0]


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
