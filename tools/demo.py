"""Make toy streets, pretrain, convert, train, test on unseen domains, draw: in a few minutes."""

import argparse
from pathlib import Path

from soma.config import REPOSITORY
from soma.demo import run_demo


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=REPOSITORY / 'work_dirs' / 'demo')
    return parser.parse_args()


def main() -> None:
    """Run the demo."""
    args = parse_args()
    run_demo(args.work_dir)


if __name__ == '__main__':
    main()
