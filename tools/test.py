"""Test a model on every domain of its config."""

import argparse

from soma.utils.cli import add_base, add_checkpoint, add_test, command, runner_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    add_checkpoint(parser)
    add_base(parser)
    add_test(parser)
    return parser.parse_args()


def main() -> None:
    """Build a plain model, load, test."""
    args = parse_args()
    from mmengine.registry import RUNNERS  # here, as all below, so that --help need not wait

    from soma.checkpoints.open import load_plain
    from soma.evaluation.prepare import prepare_test

    with command(args.trust):
        config, left_out = prepare_test(args)
        runner = RUNNERS.build(config)
        load_plain(runner.model, args.checkpoint, args.base, args.force, left_out)
        runner.test()


if __name__ == '__main__':
    main()
