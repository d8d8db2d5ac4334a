"""When a training script stops by itself, and what goes on with it."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence


def seconds(text: str) -> float:
    """Read a duration: ``3h``, ``90m``, ``45s``, or minutes without a unit.

    Raises:
        ArgumentTypeError: If it is none.
    """
    match = re.fullmatch(r'(\d+(?:\.\d+)?)([hms]?)', text)
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f'{text!r} is no duration such as 3h, 90m or 45s')
    return float(match[1]) * {'h': 3600, 's': 1}.get(match[2], 60)


def resume_command(argv: Sequence[str], args: argparse.Namespace) -> str:
    """The command that goes on with a training: the same, with ``--resume`` if there is one.

    Args:
        argv: The command line, the script first.
        args: What it says: ``launcher``, and ``resume`` of a script that has it.
    """
    if args.launcher != 'none':
        return 'the same command and --resume' if 'resume' in args else 'the same command'
    if 'resume' not in args:
        return shlex.join(['python', *argv])
    rest = [word for word in argv if not word.startswith('--resume')]
    place = argv.index('--resume') if '--resume' in argv else len(argv)
    if rest[place : place + 1] == [args.resume]:  # the file after it
        del rest[place]
    return shlex.join(['python', *rest, '--resume'])
