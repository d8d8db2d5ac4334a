"""Convert the labels of Mapillary Vistas v1.2 to train ids, and halve its validation split."""

import argparse

from soma.datasets.convert import convert_dataset


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='folder of the dataset, such as data/mapillary')
    parser.add_argument('--out', help='folder to write below (default: root)')
    parser.add_argument('--nproc', type=int, default=1, help='number of processes (default: 1)')
    return parser.parse_args()


def main() -> None:
    """Convert, say how many."""
    args = parse_args()
    try:
        print(convert_dataset('mapillary', args.root, args.out, args.nproc))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
