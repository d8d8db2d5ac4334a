"""Pack predictions (tools/test.py --out) for the test server of ACDC or Cityscapes."""

import argparse
from pathlib import Path

from soma.evaluation.submission import pack_submission
from soma.utils.cli import command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('server', choices=['acdc', 'cityscapes'])
    parser.add_argument('predictions', type=Path, help='folder that tools/test.py --out wrote')
    parser.add_argument('data', type=Path, help='folder of the dataset, such as data/acdc')
    parser.add_argument('out', type=Path, help='zip file to write')
    return parser.parse_args()


def main() -> None:
    """Pack, say how many."""
    args = parse_args()
    with command(False, ValueError):
        count = pack_submission(args.server, args.predictions, args.data, args.out)
    print(f'{count} predictions: {args.out}')


if __name__ == '__main__':
    main()
