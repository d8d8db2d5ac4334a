"""Make toy streets: small, procedural stand-ins for the datasets, in their raw layouts."""

import argparse

from soma.utils.cli import command
from toy_streets import DIVERSE_WEATHER_STYLES, DOMAIN_STYLES, write_toy_streets

TASKS = {'segmentation': DOMAIN_STYLES, 'detection': DIVERSE_WEATHER_STYLES}


def size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT."""
    width, _, height = text.partition('x')
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f'expected WIDTHxHEIGHT such as 512x256, got {text!r}')
    return int(width), int(height)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='data folder to write to')
    parser.add_argument('--images', type=int, default=100, help='training images of a domain')
    parser.add_argument('--val-images', type=int, help='validation images (default: --images)')
    parser.add_argument('--test-images', type=int, default=0, help='unlabelled ones (default: 0)')
    parser.add_argument('--size', type=size, default=(512, 256), help='WxH (default: 512x256)')
    parser.add_argument('--seed', type=int, default=0)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--task', choices=TASKS, default='segmentation', help='its domains (default: segmentation)'
    )
    which.add_argument('--domains', nargs='+', help='names of domains')
    parser.add_argument('--sources', nargs='+', help='domains to train on (default: all)')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    return parser.parse_args()


def main() -> None:
    """Write the images, say how many and how fast."""
    args = parse_args()
    with command(False, ValueError):
        report = write_toy_streets(
            args.out,
            args.images,
            args.size,
            args.seed,
            args.domains or list(TASKS[args.task]),
            args.nproc,
            args.val_images,
            args.sources,
            args.test_images,
        )
    print(report)


if __name__ == '__main__':
    main()
