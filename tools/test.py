"""Test a model on every domain of its config."""

import argparse
import os

from mmengine.config import DictAction
from mmengine.registry import RUNNERS

from soma.config import load_config, use_tta


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder of logs and results')
    parser.add_argument('--out', help='folder for the predictions, as PNG of Cityscapes ids')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override the config: key=value ...'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Build the runner, test."""
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = load_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    config.work_dir = args.work_dir or config.work_dir
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
