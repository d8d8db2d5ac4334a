"""Segment a picture or a folder of them; write each beside its colour overlay, with a legend."""

import argparse

from soma.inference import Inferencer, visualize


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('image', help='picture or folder')
    parser.add_argument('--save-dir', default='work_dirs/visualize', help='folder to write to')
    parser.add_argument('--device', help='cpu, cuda:0 ...; the first GPU if there is one')
    return parser.parse_args()


def main() -> None:
    """Load the model, segment, draw."""
    args = parse_args()
    inferencer = Inferencer(args.config, args.checkpoint, args.device)
    for file in visualize(inferencer, args.image, args.save_dir):
        print(file)


if __name__ == '__main__':
    main()
