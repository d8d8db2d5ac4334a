"""Test a model on every domain of its config."""

import argparse

from mmengine.config import Config
from mmengine.registry import RUNNERS

from soma.checkpoints import load_plain
from soma.evaluation.test_config import split_test_options, use_test_data, use_tta
from soma.models.build import use_plain_model
from soma.utils.cli import add_base, command, runner_parser
from soma.utils.config import config_from


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    parser.add_argument('checkpoint', help='training checkpoint, adapter file or merged file')
    add_base(parser, "pretrained weights of an adapter (default: the config's)")
    parser.add_argument('--test-data', help='config whose test data to take, for other domains')
    parser.add_argument(
        '--out',
        help='folder for the predictions: PNG of Cityscapes ids, or COCO-style JSON of a detector',
    )
    parser.add_argument('--show-dir', help='folder for images of the predictions')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser.parse_args()


def prepare(args: argparse.Namespace) -> tuple[Config, str | None]:
    """Read the config, as the arguments want it, and the pretrained weights that it names."""
    options = None
    if args.test_data:
        options, args.cfg_options = split_test_options(args.cfg_options)
    config = config_from(args)
    pretrained = use_plain_model(config)
    if args.test_data:
        use_test_data(config, args.test_data, options)
    if args.out:
        config.test_evaluator.output_dir = args.out
    elif config.test_evaluator.get('format_only'):
        raise ValueError('this test has no labels and only writes predictions: --out says where')
    if args.show_dir:
        config.setdefault('custom_hooks', []).append(
            dict(type='DrawPredictionsHook', out_dir=args.show_dir)
        )
    if args.tta:
        use_tta(config)
    return config, pretrained


def main() -> None:
    """Build a plain model, load, test."""
    args = parse_args()
    with command(args.trust, ValueError):
        config, pretrained = prepare(args)
    with command(args.trust):
        runner = RUNNERS.build(config)
        load_plain(runner.model, args.checkpoint, args.backbone_ckpt or pretrained, args.force)
        runner.test()


if __name__ == '__main__':
    main()
