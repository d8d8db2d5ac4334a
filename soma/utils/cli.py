"""What the scripts share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..io.files import CheckpointError
from .noise import without_warnings


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` to a script's arguments."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='run the code that pickled checkpoints hold; only for files whose maker you know',
    )


def add_base(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    """Add ``--backbone_ckpt``, in short ``--backbone``, and ``--force`` to a script's arguments."""
    parser.add_argument('--backbone_ckpt', '--backbone', required=required, help=help)
    parser.add_argument('--force', action='store_true', help='accept other pretrained weights')


@contextmanager
def command(trust: bool = False, *errors: type[Exception]) -> Iterator[None]:
    """Run a script's work: what is wrong with its files is said in one line, without a traceback.

    Args:
        trust: Whether pickled checkpoints may run code.
        *errors: Further exceptions whose message is meant for users.

    Raises:
        SystemExit: With the message of such an exception, a ``CheckpointError``,
            ``FileNotFoundError`` or ``FileExistsError``; with 130 when the user interrupts.
    """
    from ..io.unpickle import trust_files  # here, so that --help need not wait for torch

    try:
        with trust_files(trust), without_warnings():
            yield
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        raise SystemExit(130) from None
    except (CheckpointError, FileNotFoundError, FileExistsError, *errors) as error:
        raise SystemExit(f'error: {error}') from error


class _KeyValue(argparse.Action):
    """``key=value ...``, read by mmengine's ``DictAction``."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if wrong := [value for value in values if '=' not in value]:
            parser.error(f'{option_string}: {wrong[0]!r} is not key=value')
        from mmengine.config import DictAction  # here, so that --help need not wait for it

        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        read(parser, namespace, values, option_string)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options`` to a script's arguments."""
    parser.add_argument(
        '--cfg-options', nargs='+', action=_KeyValue, help='override the config: key=value ...'
    )


def runner_parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the arguments that training and testing share.

    Args:
        description: What ``--help`` says of the script.

    Returns:
        The parser, with ``config``, ``--work-dir``, ``--cfg-options``, ``--trust`` and
        ``--launcher``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and results')
    add_cfg_options(parser)
    add_trust(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser
