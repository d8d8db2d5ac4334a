"""Pack predictions (tools/test.py --out) for the test server of ACDC, Cityscapes or BRAVO."""

import argparse
from pathlib import Path

from soma.utils.cli import ScriptParser, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_argument('server', choices=['acdc', 'cityscapes', 'bravo'])
    parser.add_file('predictions', 'folder that tools/test.py --out wrote')
    parser.add_file('data', 'folder of the dataset, such as data/acdc')
    parser.add_file('out', 'zip file to write (BRAVO: tar)')
    return parser.parse_args()


def main() -> None:
    """Pack, print how many."""
    args = parse_args()
    # here, so that --help need not wait
    from submission import pack_submission

    folders = Path(args.predictions), Path(args.data)
    with command():
        count = pack_submission(args.server, *folders, Path(args.out))
    print(f'{count} predictions: {args.out}')


if __name__ == '__main__':
    main()
