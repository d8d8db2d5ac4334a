"""Test a model on every domain of its config."""

import argparse

from mmengine.registry import RUNNERS

from soma.checkpoints import load_plain
from soma.cli import add_base, command
from soma.config import config_from, runner_parser, use_plain_model, use_tta


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    parser.add_argument('checkpoint', help='training checkpoint, adapter file or merged file')
    add_base(parser, "base weights of an adapter (default: the config's)")
    parser.add_argument('--out', help='folder for the predictions, as PNG of Cityscapes ids')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


def main() -> None:
    """Build a plain model, load, test."""
    args = parse_args()
    with command(args.trust):
        config = config_from(args)
        pretrained = use_plain_model(config)
        if args.out:
            config.test_evaluator.output_dir = args.out
        if args.show_dir:
            config.setdefault('custom_hooks', []).append(
                dict(type='DrawPredictionsHook', out_dir=args.show_dir)
            )
        if args.tta:
            use_tta(config)
        runner = RUNNERS.build(config)
        load_plain(runner.model, args.checkpoint, args.backbone_ckpt or pretrained, args.force)
        runner.test()


if __name__ == '__main__':
    main()
