"""Make toy streets, convert, train, test on unseen domains, draw: in a few minutes."""

import argparse
from pathlib import Path

from soma.utils.cli import command
from soma.utils.config import REPOSITORY
from soma.utils.jobs import interrupt_on_signals
from toy_streets.demo import DEMOS, run_demo


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', choices=DEMOS, default='segmentation')
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/demo, demo_det')
    return parser.parse_args()


def main() -> None:
    """Run the demo."""
    args = parse_args()
    interrupt_on_signals()  # else a training would go on
    folder = REPOSITORY / 'work_dirs' / DEMOS[args.task].folder
    with command(False, RuntimeError):
        run_demo(args.task, args.work_dir or folder)


if __name__ == '__main__':
    main()
