"""Test a model on every domain of its config."""

import argparse

from mmengine.registry import RUNNERS

from soma.config import config_from, runner_parser, use_tta


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='folder for the predictions, as PNG of Cityscapes ids')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


def main() -> None:
    """Build the runner, test."""
    args = parse_args()
    config = config_from(args)
    config.load_from = args.checkpoint
    if args.out:
        config.test_evaluator.output_dir = args.out
    if args.show_dir:
        config.setdefault('custom_hooks', []).append(
            dict(type='DrawPredictionsHook', out_dir=args.show_dir)
        )
    if args.tta:
        use_tta(config)
    RUNNERS.build(config).test()


if __name__ == '__main__':
    main()
