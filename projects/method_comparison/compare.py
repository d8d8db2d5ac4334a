"""Train every method on toy streets with several seeds, test on unseen domains, write a report."""

import argparse
import os
import signal
import sys
from pathlib import Path

import torch

from soma.study import METHODS, SOURCES, Study, read_results, run_study, write_document
from soma.utils.cli import command
from soma.utils.config import REPOSITORY


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    cores = len(os.sched_getaffinity(0))
    folder = REPOSITORY / 'work_dirs' / 'study'
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Data and foundation model go to data/toy_study. Finished runs are skipped as long '
        'as their configs are the same; after a change of the code or the data, remove the work '
        'dir.',
    )
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS)
    parser.add_argument('--sources', nargs='+', choices=SOURCES, default=Study.sources)
    parser.add_argument('--seeds', nargs='+', type=int, default=Study.seeds)
    parser.add_argument('--iterations', type=int, default=Study.iterations)
    parser.add_argument('--jobs', type=int, default=cores, help='runs at a time (default: cores)')
    parser.add_argument('--work-dir', type=Path, default=folder)
    parser.add_argument('--report', type=Path, help='write the document here too')
    return parser.parse_args()


def main() -> None:
    """Run what is not done yet, report, say what failed."""
    args = parse_args()
    torch.set_num_threads(1)  # the cores are the runs'
    for name in (signal.SIGTERM, signal.SIGHUP):  # end the runs too, as after Ctrl-C
        if signal.getsignal(name) is signal.SIG_DFL:
            signal.signal(name, signal.default_int_handler)
    with command(False, ValueError):
        study = Study(
            args.work_dir.resolve(),
            tuple(args.methods),
            tuple(args.sources),
            tuple(args.seeds),
            args.iterations,
        )
        failed = run_study(study, args.jobs)
        if args.report:
            write_document(study, read_results(study), args.report)
    for name, reason in failed.items():
        print(f'{name} failed: {reason}\n')
    print(f'the report is in {study.work_dir}/study.md')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
