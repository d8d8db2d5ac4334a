"""What the scripts share: one grammar of arguments, and messages of one line.

Scripts import this at their top and all that takes its time after parsing, so that ``--help`` need
not wait for it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ..io.files import InputError
from .config import check_config_file, load_config
from .messages import is_out_of_memory, one_line
from .noise import without_warnings
from .stopping import seconds

if TYPE_CHECKING:
    from mmengine.config import Config


class ScriptParser(argparse.ArgumentParser):
    """A parser of files that are given by name (``--checkpoint FILE``) or by place (``FILE``).

    Those that are not given by name are taken by place, in the order in which they were added.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description=description)
        self._places: dict[str, bool] = {}  # whether it is required, by name
        self._many: str | None = None  # the last of them, if it is of several files
        self._endings: dict[str, str] = {}  # what a word must end with to be taken, by name

    def add_file(
        self,
        name: str,
        help: str,
        *aliases: str,
        place: bool = True,
        required: bool = True,
        many: bool = False,
        ending: str = '',
    ) -> None:
        """Add ``--name``.

        Args:
            name: What the parsed arguments call it.
            help: Its text in ``--help``.
            *aliases: Further options that mean the same, such as ``--backbone``.
            place: Whether it can be given by place, too.
            required: Whether it must be given.
            many: Whether it is of one file or more; then no other may come after it.
            ending: What the first word must end with to be it; else it is left out.
        """
        self._endings[name] = ending
        if many:
            self._many = name
        self.add_argument(
            f'--{name}',
            *aliases,
            action=_Once,
            nargs='+' if many else None,
            metavar='PATH',
            required=required and not place,
            help='the same, by name' if place else help,
        )
        if place:
            self._places[name] = required
            nargs = '*' if many else '?'
            self.add_argument(f'{name}_by_place', nargs=nargs, metavar=name, help=help)

    def parse_args(self, args: Sequence[str] | None = None, namespace=None) -> argparse.Namespace:
        """Parse, whatever the order of options and places is; errors end the script.

        So does a config file that is not there, before a script imports what takes its time.
        """
        parsed = self.parse_intermixed_args(args, namespace)
        by_place = []
        for name in self._places:
            value = vars(parsed).pop(f'{name}_by_place')
            by_place += value if isinstance(value, list) else [value] * (value is not None)
        free = [name for name in self._places if getattr(parsed, name) is None]
        if free and by_place and not by_place[0].endswith(self._endings[free[0]]):
            del free[0]
        if free and free[-1] == self._many and len(by_place) >= len(free):
            by_place[len(free) - 1 :] = [by_place[len(free) - 1 :]]
        if len(by_place) > len(free):
            named = ', '.join(f'--{name}' for name in self._places if name not in free)
            self.error(f'{by_place[-1]!r} is one too many beside {named}: give each file once')
        for name, value in zip(free, by_place, strict=False):
            setattr(parsed, name, value)
        if missing := [name for name in free[len(by_place) :] if self._places[name]]:
            names = ', '.join(f'{name} (or --{name})' for name in missing)
            self.error(f'the following arguments are required: {names}')
        if config := getattr(parsed, 'config', None):
            with command():
                check_config_file(config)
        return parsed


class _Once(argparse.Action):
    """Stores a value, but no second one under another alias."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        before = getattr(namespace, self.dest)
        if before not in (self.default, values):
            parser.error(f'{option_string} {values}: {self.dest} is {before} already')
        setattr(namespace, self.dest, values)


class KeyValue(argparse.Action):
    """``key=value ...``, read by mmengine's ``DictAction``."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Read them, as ``--cfg-options`` of mmengine's scripts."""
        if wrong := [value for value in values if '=' not in value]:
            parser.error(f'{option_string}: {wrong[0]!r} is not key=value')
        from mmengine.config import DictAction

        read = DictAction(self.option_strings, self.dest, nargs=self.nargs)
        read(parser, namespace, values, option_string)


def add_config(parser: ScriptParser) -> None:
    """Add ``--config`` and ``--cfg-options``."""
    parser.add_file('config', 'config file')
    add_cfg_options(parser)


def add_cfg_options(
    parser: argparse.ArgumentParser, help: str = 'override the config: key=value ...'
) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=KeyValue, help=help)


def add_checkpoint(
    parser: ScriptParser,
    help: str = 'training checkpoint, adapter file, merged file or the work dir of a training',
    required: bool = True,
) -> None:
    """Add ``--checkpoint``, with ``--adapter`` as another name, of a file of any kind."""
    parser.add_file('checkpoint', help, '--adapter', required=required)


def add_base(
    parser: ScriptParser,
    help: str = "pretrained weights of an adapter (default: the config's, or as its file tells)",
) -> None:
    """Add ``--base`` under all of its names, and ``--force``."""
    names = ('--backbone', '--backbone_ckpt', '--pretrained')
    parser.add_file('base', help, *names, place=False, required=False)
    parser.add_argument('--force', action='store_true', help='accept other pretrained weights')


def add_test(parser: ScriptParser) -> None:
    """Add what a test can be asked for: other data, predictions, augmentation."""
    parser.add_argument('--test-data', help='config whose test data to take, for other domains')
    parser.add_file(
        'out',
        'folder for the predictions: PNG of Cityscapes ids, or of the places of the classes where '
        'they are not the 19 of Cityscapes; COCO-style JSON of a detector. Of a detector also a '
        'file, *.pkl',
        place=False,
        required=False,
    )
    parser.add_argument('--show-dir', help='folder for images of the predictions')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2.0,
        metavar='SECONDS',
        help='how long --show shows an image; 0: until the space key (%(default)s)',
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')


def add_training(parser: ScriptParser) -> None:
    """Add ``--amp`` and ``--stop-after``."""
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--stop-after',
        type=seconds,
        metavar='TIME',
        help='save and end with exit code 0 after 3h, 90m or 45s, as after the signal SIGUSR1',
    )


def add_trust(parser: ScriptParser) -> None:
    """Add ``--trust``."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='run the code that pickled checkpoints hold; only for files whose maker you know',
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster`` and ``--slurm``, for :func:`~.cluster.start_from`."""
    where = 'give the runs to Slurm; or, to try it, to processes of this machine or to this one'
    parser.add_argument('--cluster', choices=['slurm', 'local', 'debug'], help=where)
    what = "submitit's parameters: time (minutes), partition, gpus_per_node, cpus_per_task, mem"
    parser.add_argument('--slurm', nargs='+', action=KeyValue, metavar='KEY=VALUE', help=what)


def add_nproc(parser: ScriptParser) -> None:
    """Add ``--nproc``."""
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')


def runner_parser(description: str) -> ScriptParser:
    """Make a parser with the arguments that training and testing share.

    These are ``--config``, ``--cfg-options``, ``--work-dir``, ``--trust`` and ``--launcher``.
    """
    parser = ScriptParser(description)
    add_config(parser)
    parser.add_argument('--work-dir', help='folder of logs, checkpoints and results')
    add_trust(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser


def config_from(args: argparse.Namespace) -> Config:
    """Read the config that the arguments of :func:`runner_parser` ask for.

    One that names no runner gets ``SomaRunner``.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))  # mmengine reads it from there
    config = load_config(args.config, args.cfg_options)
    config.setdefault('runner_type', 'SomaRunner')
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.work_dir
    return config


@contextmanager
def command(trust: bool = False, *errors: type[Exception]) -> Iterator[None]:
    """Run a script's work: what is wrong with its files is said in one line, without a traceback.

    Args:
        trust: Whether pickled checkpoints may run code.
        *errors: Further exceptions whose message is meant for users.

    Raises:
        SystemExit: With the message of such an exception, an ``InputError``, an ``OSError`` or that
            of a GPU whose memory is full; with 130 when the user interrupts, and what the exception
            then says. ``SOMA_DEBUG=1`` shows the traceback.
    """
    trusting = nullcontext()
    if trust:
        from ..io.unpickle import trust_files  # here, since not all that works needs torch

        trusting = trust_files()
    try:
        with trusting, without_warnings():
            yield
    except KeyboardInterrupt as error:
        sys.stderr.write('; '.join(['interrupted', *map(str, error.args)]) + '\n')
        raise SystemExit(130) from None
    except (InputError, OSError, RuntimeError, *errors) as error:
        known = isinstance(error, (InputError, OSError, *errors)) or is_out_of_memory(error)
        if not known or os.environ.get('SOMA_DEBUG'):
            raise
        raise SystemExit(f'error: {one_line(error)}') from error
