"""Train a model."""

import argparse
import sys

from soma.utils.cli import command, config_from, runner_parser
from soma.utils.stopping import resume_command, seconds


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue from a checkpoint, or without one from the newest in the work dir',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--stop-after',
        type=seconds,
        metavar='TIME',
        help='save and end with exit code 0 after 3h, 90m or 45s, as after the signal SIGUSR1',
    )
    return parser.parse_args()


def main() -> None:
    """Build the runner, train."""
    args = parse_args()
    with command():
        from mmengine.registry import RUNNERS  # here, as all below, so that --help need not wait

        from soma.engine.amp import use_amp
        from soma.engine.hooks.stop import StopHook

    stop = StopHook(resume_command(sys.argv, args), args.stop_after)
    with stop, command(args.trust):
        config = config_from(args)
        if args.amp:
            use_amp(config)
        if args.resume:
            config.resume = 'auto' if args.resume == 'auto' else True
            config.load_from = config.get('load_from') if args.resume == 'auto' else args.resume
        runner = RUNNERS.build(config)
        runner.register_hook(stop)
        runner.train()


if __name__ == '__main__':
    main()
