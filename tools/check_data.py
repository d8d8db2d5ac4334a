"""Read all data of a config before a run of days, and say what is wrong with it."""

import argparse
import shlex
import sys
from pathlib import Path

from soma.datasets.prepare.check import (
    check_config,
    fault_lines,
    parts_table,
    write_good_lists,
    write_report,
)
from soma.datasets.prepare.counts import counts_table
from soma.utils.cli import add_cfg_options, command
from soma.utils.config import load_config
from soma.utils.tables import as_text


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', help='folder of report and lists (default: work_dir/check_data)')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    parser.add_argument(
        '--fix-list', action='store_true', help='list the good pairs, for configs to use'
    )
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> int:
    """Check, print, write; returns 1 if something would break training."""
    args = parse_args()
    with command(False, ValueError):
        config = load_config(args.config, args.cfg_options)
        folder = Path(args.out or Path(config.work_dir, 'check_data'))
        parts = check_config(config, args.nproc)
    write_report(parts, folder)
    print(as_text(counts_table({part.name: part.counts for part in parts})))
    print(as_text(parts_table(parts)))
    print('\n'.join(fault_lines(parts)))
    if args.fix_list:
        if options := write_good_lists(parts, folder):
            print(f'Train and test without the bad pairs: --cfg-options {shlex.join(options)}')
        for part in parts:
            if len(part.bad) == len(part.pairs):
                print(f'{part.name}: nothing is good, so there is no list of it')
    print(f'{folder}/report.json, {folder}/classes.png')
    return int(any(part.breaks for part in parts))


if __name__ == '__main__':
    sys.exit(main())
