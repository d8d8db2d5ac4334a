"""Test a model on every domain of its config."""

import argparse

from soma.utils.cli import add_base, add_checkpoint, add_test, command, runner_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    add_checkpoint(parser)
    add_base(parser)
    add_test(parser)
    parser.add_argument(
        '--corruptions',
        nargs='+',
        metavar='NAME',
        help='test on corrupted images: all, benchmark, cityscapes-c, a kind or single ones',
    )
    parser.add_argument(
        '--severities',
        nargs='+',
        type=int,
        choices=range(1, 6),
        help='of the corruptions (default: 1 to 5)',
    )
    parser.add_argument('--reference', help="another run's corruptions.json, for mCE")
    args = parser.parse_args()
    if not args.corruptions and (args.severities or args.reference):
        parser.error('--severities and --reference belong to --corruptions')
    if args.corruptions and (args.out or args.show or args.show_dir):
        parser.error('--corruptions only scores: leave out --out, --show and --show-dir')
    return args


def main() -> None:
    """Build a plain model, load, test."""
    args = parse_args()
    from mmengine.registry import RUNNERS  # here, as all below, so that --help need not wait

    from soma.checkpoints.open import load_plain
    from soma.evaluation.corruptions import make_plan, run_corruptions
    from soma.evaluation.prepare import prepare_test, say_what_is_tested

    with command(args.trust):
        config, left_out = prepare_test(args)
        severities = args.severities or range(1, 6)
        plan = args.corruptions and make_plan(args.corruptions, severities, args.reference)
        runner = RUNNERS.build(config)
        say_what_is_tested(runner, args)
        load_plain(runner.model, args.checkpoint, args.base, args.force, left_out)
        if plan:
            run_corruptions(runner, plan)
        else:
            runner.test()


if __name__ == '__main__':
    main()
