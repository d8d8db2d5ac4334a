"""Write an image, or each of a folder, beside its segmentation or boxes, with a legend."""

import argparse

from soma.inference import Inferencer, visualize
from soma.utils.cli import add_base, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='training checkpoint, adapter file or merged file')
    parser.add_argument('image', help='image or folder')
    parser.add_argument('--save-dir', default='work_dirs/visualize', help='folder to write to')
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        metavar='SCORE',
        help="leave out a detector's boxes of lower scores (%(default)s)",
    )
    parser.add_argument('--device', help='cpu, cuda:0 ...; the first GPU if there is one')
    add_base(parser, "pretrained weights of an adapter (default: the config's)")
    add_trust(parser)
    args = parser.parse_args()
    if not 0 <= args.score_thr <= 1:
        parser.error(f'--score-thr must be 0 to 1, got {args.score_thr}')
    return args


def main() -> None:
    """Load the model, predict, draw."""
    args = parse_args()
    with command(args.trust):
        inferencer = Inferencer(
            args.config, args.checkpoint, args.device, args.backbone_ckpt, args.force
        )
        for file in visualize(inferencer, args.image, args.save_dir, args.score_thr):
            print(file)


if __name__ == '__main__':
    main()
