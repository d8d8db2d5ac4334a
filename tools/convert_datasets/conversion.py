"""What the scripts of this folder do: convert, print what was done."""

from __future__ import annotations

import argparse
from pathlib import Path

from soma.datasets.lists import parse_subset, write_subset
from soma.datasets.prepare.convert import REPORT, Summary, convert_dataset
from soma.datasets.prepare.counts import counts_table
from soma.datasets.prepare.layouts import LAYOUTS
from soma.utils.cli import command
from soma.utils.tables import as_text


def print_summary(name: str, summary: Summary, out: Path) -> None:
    """Print what a conversion did."""
    print(as_text(counts_table({name: summary.counts})))
    for title, files in (('failed', summary.failures), ('odd', summary.remarks)):
        for path, reason in list(files.items())[:10]:
            print(f'{title}: {path} {reason}')
        if len(files) > 10:
            print(f'... {len(files) - 10} more: {out / REPORT}')
    print(summary)


def main(args: argparse.Namespace) -> int:
    """Convert a dataset, as the arguments of ``parse_conversion`` say.

    Returns:
        The exit code: 1 if a file could not be converted.
    """
    name, subset, seed = args.dataset, args.subset, args.seed
    with command():
        subset = subset and parse_subset(subset)
    out = Path(args.out or args.root)
    with command(False, ImportError):
        summary = convert_dataset(name, args.root, out, args.nproc)
    print_summary(name, summary, out)
    if summary.failures:
        print('tools/check_data.py CONFIG --fix-list writes lists without what failed')
    if subset:
        with command():
            place = Path(args.root), *LAYOUTS[name].train, out
            path = write_subset(subset, summary.images, *place, 1 if seed is None else seed)
        print(f'images in {path}: {len(path.read_text().splitlines())}')
    return 1 if summary.failures else 0
