"""Compare all methods on toy streets: make the data, then run projects/method_comparison."""

import argparse
import os
import sys
from pathlib import Path

from soma.utils.config import REPOSITORY
from soma.utils.jobs import interrupt_on_signals, run_jobs
from toy_streets.study import RECIPE, preparation


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what this script does not know is for the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='The data go to data/toy_study. All other arguments are those of '
        'projects/method_comparison/compare.py, see its --help: --methods, --sources, --seeds, '
        '--iterations, --report FILE.',
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument('--jobs', type=int, default=cores, help='runs at a time (default: cores)')
    parser.add_argument('--work-dir', type=Path, default=REPOSITORY / 'work_dirs' / 'study')
    return parser.parse_known_args()


def main() -> None:
    """Make the data, hand over to the comparison."""
    args, others = parse_args()
    interrupt_on_signals()
    if args.jobs < 1:
        sys.exit(f'error: jobs must be at least 1, got {args.jobs}')
    failed = run_jobs(
        preparation(args.work_dir.resolve() / 'logs', args.jobs),
        args.jobs,
        lambda job, usage: f'{usage.seconds:.0f} s',
        {},
        cwd=REPOSITORY,
    )
    for name, reason in failed.items():
        print(f'{name} failed: {reason}\n')
    if failed:
        sys.exit(1)
    script = str(REPOSITORY / 'projects/method_comparison/compare.py')
    options = ['--jobs', str(args.jobs), '--work-dir', str(args.work_dir.resolve())]
    os.execv(sys.executable, [sys.executable, script, str(RECIPE), *options, *others])


if __name__ == '__main__':
    main()
