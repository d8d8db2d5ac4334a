"""Adapters shared on the Hugging Face Hub, or in a folder that is made for it."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from ..io.files import InputError, atomic_path, check_folder
from ..io.hub import ADAPTER_FILE, network_errors
from ..utils.config import each_dataset
from ..utils.config_text import parse_config
from .checkpoint import Checkpoint
from .extract import adapter_of
from .licences import licence_data
from .model_card import Sharing, model_card, read_scores
from .model_use import published_base
from .open import write_with_card
from .shared_card import shared_card

FILES = (ADAPTER_FILE, 'README.md')
logger = logging.getLogger(__name__)


def write_shared(
    checkpoint: str | os.PathLike,
    folder: str | os.PathLike,
    repo: str,
    licence: str,
    report: str | os.PathLike | None = None,
    base_model: str | None = None,
) -> list[Path]:
    """Write what one shares of a checkpoint: the adapter file and its page, ``README.md``.

    Nothing in them names a folder of this machine: of the config model and pipelines are kept.

    Args:
        checkpoint: Training checkpoint or adapter file.
        folder: Where to; what is written over there is logged.
        repo: Name that the model has on the hub, ``'user/name'``.
        licence: The hub's name of a licence, such as ``'apache-2.0'``, or the address of its text.
        report: The ``domains_test.json`` of ``tools/test.py``, or its work dir, for the scores.
        base_model: Name of the pretrained model on the hub; of DINOv2's it is known.

    Returns:
        The files.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If the checkpoint cannot be used, or holds no adapter.
        InputError: If an argument is not as it should be, the config has what others would not
            read, or nothing can be written to the folder.
    """
    for name in filter(None, (repo, base_model)):
        _check_name(name)
    licence_data(licence)
    scores = None if report is None else read_scores(report)
    check_folder(folder)
    extracted = adapter_of(checkpoint)
    trained_on = _domains(extracted)
    extracted = replace(extracted, card=shared_card(extracted.card, checkpoint))
    paths = [Path(folder).expanduser() / name for name in FILES]
    if before := [path.name for path in paths if path.is_file()]:
        logger.warning('%s had %s, which is written over', folder, ' and '.join(before))
    _say_scores_go(folder, paths[1], report)
    write_with_card(extracted.tensors, extracted.card, paths[0])
    base_model = base_model or published_base(extracted.card.base)
    sharing = Sharing(repo, licence, scores, trained_on, base_model)
    text = model_card(extracted, sharing, paths[0].stat().st_size)
    with atomic_path(paths[1]) as temporary:
        temporary.write_text(text)
    return paths


def push_to_hub(
    checkpoint: str | os.PathLike,
    repo: str,
    licence: str,
    report: str | os.PathLike | None = None,
    private: bool = False,
    base_model: str | None = None,
) -> str:
    """Put an adapter and its page on the Hugging Face Hub.

    Args:
        checkpoint: As for :func:`write_shared`.
        repo: Name of the model, ``'user/name'``; it is made if need be.
        licence: As for :func:`write_shared`.
        report: As for :func:`write_shared`.
        private: Whether only its owner may see it.
        base_model: As for :func:`write_shared`.

    Returns:
        Its address.

    Raises:
        InputError: As for :func:`write_shared`; if the hub cannot be reached, does not let it be
            written, or has it as a public model where it should be private.
    """
    import huggingface_hub  # here, since it takes its time

    with tempfile.TemporaryDirectory() as folder:
        write_shared(checkpoint, folder, repo, licence, report, base_model)
        api = huggingface_hub.HfApi()
        try:
            address = api.create_repo(repo, private=private, exist_ok=True)
            if private and not api.repo_info(repo).private:
                raise InputError(f'{address} is public: make it private there, or name another')
            _say_scores_go(address, _page_of(repo), report)
            api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                allow_patterns=[*FILES],
                commit_message=f'Adapter and page by soma: {", ".join(FILES)}',
            )
        except InputError:
            raise
        except network_errors() as error:
            reason = ' '.join(str(error).split())[:200]
            raise InputError(
                f'{repo} is not put on the hub ({reason}): hf auth login with a token that may '
                'write, or write the files into a folder (write_shared, --to) to upload them later'
            ) from error
    return str(address)


def _page_of(repo: str) -> Path | None:
    """The page that a model has on the hub; None of a new one."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(repo, FILES[1]))
    except network_errors():
        return None


def _say_scores_go(where: object, page: Path | None, report: str | os.PathLike | None) -> None:
    """Log that a page, if there is one, had scores and gets none."""
    if report is not None or page is None or not page.is_file():
        return
    if '\nmodel-index:' in page.read_text(errors='replace'):
        text = '%s had scores on its page and has none now: give the report (--report) for them'
        logger.warning(text, where)


def _check_name(name: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(str(error)) from error
    if '/' not in name:
        raise InputError(f'{name} must be the name of a model on the hub, user/name')


def _domains(checkpoint: Checkpoint) -> list[str]:
    """Names of the domains that a checkpoint was trained on, as far as its config tells."""
    if checkpoint.card.config is None:
        return []
    config = parse_config(checkpoint.card.config, str(checkpoint.path))
    data = (config.get('train_dataloader') or {}).get('dataset')
    names = (dataset.get('domain') for _, dataset in each_dataset(data, ''))
    return [*dict.fromkeys(name for name in names if isinstance(name, str))]
