"""What the scripts share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .files import CheckpointError
from .unpickle import trust_files


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
    parser.add_argument('--force', action='store_true', help='accept other base weights')


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
    try:
        with trust_files(trust):
            yield
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        raise SystemExit(130) from None
    except (CheckpointError, FileNotFoundError, FileExistsError, *errors) as error:
        raise SystemExit(f'error: {error}') from error
