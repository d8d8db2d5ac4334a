"""Read all data of a config before a run of days, and list what is wrong with it."""

import argparse
import shlex
import sys
from pathlib import Path

from soma.io.files import check_folder
from soma.utils.cli import ScriptParser, add_config, add_nproc, command
from soma.utils.config import load_config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    parser.add_file(
        'out',
        'folder of report and lists (default: work_dir/check_data)',
        place=False,
        required=False,
    )
    add_nproc(parser)
    parser.add_argument(
        '--fix-list', action='store_true', help='list the good pairs, for configs to use'
    )
    return parser.parse_args()


def main() -> int:
    """Check, print, write; returns 1 if something would break training."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.datasets.prepare import check_report
    from soma.datasets.prepare.check import check_config
    from soma.datasets.prepare.counts import counts_table
    from soma.utils.tables import as_text

    with command(False, ValueError):
        config = load_config(args.config, args.cfg_options)
    with command():
        folder = Path(args.out or Path(config.work_dir, 'check_data'))
        check_folder(folder)
        parts = check_config(config, args.nproc)
        check_report.write_report(parts, folder)
        options = check_report.write_good_lists(parts, folder) if args.fix_list else []
    print(as_text(counts_table({part.name: part.counts for part in parts})))
    print(as_text(check_report.parts_table(parts)))
    print('\n'.join(check_report.fault_lines(parts)))
    if options:
        print(f'Train and test without the bad pairs: --cfg-options {shlex.join(options)}')
    for part in parts if args.fix_list else ():
        if len(part.bad) == len(part.pairs):
            print(f'{part.name}: nothing is good, so there is no list of it')
    print(f'{folder}/report.json, {folder}/classes.png')
    return int(any(part.breaks for part in parts))


if __name__ == '__main__':
    sys.exit(main())
