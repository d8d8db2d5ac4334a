"""Pretrain a toy foundation model on scenes in random styles; write it as DINOv2's files are."""

import argparse

from soma.io.checkpoint_files import write_checkpoint
from toy_streets.foundation import pretrain_toy


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='file to write, such as checkpoints/dinov2_toy14_pretrain.pth')
    parser.add_argument('--images', type=int, default=1000, help='scenes to render')
    parser.add_argument('--steps', type=int, default=1500, help='training steps')
    parser.add_argument('--seed', type=int, default=2026)
    parser.add_argument('--nproc', type=int, default=2, help='processes that render')
    return parser.parse_args()


def main() -> None:
    """Pretrain, write."""
    args = parse_args()
    state = pretrain_toy(args.images, args.steps, seed=args.seed, nproc=args.nproc)
    write_checkpoint(state, args.out)
    print(args.out)


if __name__ == '__main__':
    main()
