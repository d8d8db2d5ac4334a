"""Count the parameters and the multiply-adds of a config's model, with its adapter folded in.

No data and no weights are needed. Papers, and the scripts of this name in mmseg and mmdet, call
multiply-adds FLOPs.
"""

import argparse

from soma.utils.cli import ScriptParser, add_config, command
from soma.utils.config import load_config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help="height and width of the image, or one for both (default: the config's window)",
    )
    return parser.parse_args()


def main() -> None:
    """Count, print a table."""
    args = parse_args()
    from flops import cost_table, count_cost  # here, so that --help need not wait

    with command():
        print(cost_table(*count_cost(load_config(args.config, args.cfg_options), args.shape)))


if __name__ == '__main__':
    main()
