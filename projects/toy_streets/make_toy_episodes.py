"""Make toy episodes: a stand-in for PASCAL-5i, in its layout."""

import argparse

from soma.utils.cli import command
from toy_streets.episodes import write_toy_episodes


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder to write to, such as data/toy_episodes')
    parser.add_argument('--images', type=int, default=800, help='training images (default: 800)')
    parser.add_argument('--val-images', type=int, default=200, help='test images (default: 200)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    return parser.parse_args()


def main() -> None:
    """Write the images."""
    args = parse_args()
    with command():
        write_toy_episodes(args.out, args.images, args.val_images, args.seed, args.nproc)


if __name__ == '__main__':
    main()
