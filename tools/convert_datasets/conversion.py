"""What the scripts of this folder do: read the command line, convert, print what was done."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from soma.utils.cli import ScriptParser, add_nproc, command

if TYPE_CHECKING:
    from soma.datasets.prepare.convert import Summary


def parse_args(name: str, description: str, subset: bool = True) -> argparse.Namespace:
    """Read the command line of a script that converts a dataset.

    Args:
        name: Of the dataset.
        description: Text at the top of ``--help``.
        subset: Whether it can list a part of the training images.

    Returns:
        The arguments, with the name as ``dataset``.
    """
    parser = ScriptParser(description)
    parser.set_defaults(dataset=name, subset=None, seed=None)
    parser.add_file('root', f'folder of the dataset, such as data/{name}')
    parser.add_file('out', 'folder to write below (default: root)', place=False, required=False)
    add_nproc(parser)
    if subset:
        parser.add_argument(
            '--subset', help='also write a list of some training images: 1/16, or your own list'
        )
        parser.add_argument('--seed', type=int, help='seed of the fraction (default: 1)')
    args = parser.parse_args()
    if args.seed is not None and (args.subset is None or os.path.isfile(args.subset)):
        parser.error('--seed belongs to --subset with a fraction')
    return args


def print_summary(name: str, summary: Summary, out: Path) -> None:
    """Print what a conversion did."""
    from soma.datasets.prepare.convert import REPORT
    from soma.datasets.prepare.counts import counts_table
    from soma.utils.tables import as_text

    print(as_text(counts_table({name: summary.counts})))
    for title, files in (('failed', summary.failures), ('odd', summary.remarks)):
        for path, reason in list(files.items())[:10]:
            print(f'{title}: {path} {reason}')
        if len(files) > 10:
            print(f'... {len(files) - 10} more: {out / REPORT}')
    print(summary)


def main(name: str, description: str, subset: bool = True) -> int:
    """Convert a dataset; arguments as for :func:`parse_args`.

    Returns:
        The exit code: 1 if a file could not be converted.
    """
    args = parse_args(name, description, subset)
    # here, so that --help need not wait
    from soma.datasets.lists import parse_subset, write_subset
    from soma.datasets.prepare.convert import convert_dataset
    from soma.datasets.prepare.layouts import LAYOUTS

    with command():
        share = args.subset and parse_subset(args.subset)
    out = Path(args.out or args.root)
    with command(False, ImportError):
        summary = convert_dataset(name, args.root, out, args.nproc)
    print_summary(name, summary, out)
    if summary.failures:
        print('tools/check_data.py CONFIG --fix-list writes lists without what failed')
    if share:
        with command():
            place = Path(args.root), *LAYOUTS[name].train, out
            seed = 1 if args.seed is None else args.seed
            path = write_subset(share, summary.images, *place, seed)
        print(f'images in {path}: {len(path.read_text().splitlines())}')
    return 1 if summary.failures else 0
