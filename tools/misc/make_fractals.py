"""Make fractal images, which PixMix mixes into training images."""

import argparse

from soma.utils.cli import ScriptParser, add_nproc, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('out', 'folder to write to, such as data/fractals')
    parser.add_argument('--images', type=int, default=1000, help='how many (default: 1000)')
    parser.add_argument('--size', type=int, default=512, help='side in pixels (default: 512)')
    parser.add_argument('--seed', type=int, default=0)
    add_nproc(parser)
    return parser.parse_args()


def main() -> None:
    """Write the images, print how many."""
    args = parse_args()
    # here, so that --help need not wait
    from fractals import write_fractals

    with command():
        made = write_fractals(args.out, args.images, args.size, args.seed, args.nproc)
    print(f'{made} fractals written to {args.out}, {args.images - made} were there')


if __name__ == '__main__':
    main()
