"""Make fractal images, which PixMix mixes into training images."""

import argparse

from soma.datasets.prepare.fractals import write_fractals
from soma.utils.cli import command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder to write to, such as data/fractals')
    parser.add_argument('--images', type=int, default=1000, help='how many (default: 1000)')
    parser.add_argument('--size', type=int, default=512, help='side in pixels (default: 512)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    return parser.parse_args()


def main() -> None:
    """Write the images, say how many."""
    args = parse_args()
    with command(False, ValueError):
        made = write_fractals(args.out, args.images, args.size, args.seed, args.nproc)
    print(f'{made} fractals written to {args.out}, {args.images - made} were there')


if __name__ == '__main__':
    main()
