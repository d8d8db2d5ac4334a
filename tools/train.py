"""Train a model."""

import argparse
import sys

from soma.utils.cli import add_training, command, config_from, runner_parser
from soma.utils.stopping import resume_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    add_training(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from a checkpoint, or without one from the newest in the work dir',
    )
    return parser.parse_args()


def main() -> None:
    """Read the config, train."""
    args = parse_args()
    with command():
        from soma.engine.hooks.stop import StopHook  # here, so that --help need not wait
        from soma.engine.training import train_config

    with StopHook(resume_command(sys.argv, args), args.stop_after) as stop, command(args.trust):
        train_config(config_from(args), stop, args.amp, args.resume)


if __name__ == '__main__':
    main()
