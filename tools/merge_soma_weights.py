"""Merge an adapter file with the pretrained weights that it was trained on."""

import argparse

from soma.checkpoints import merge_files
from soma.utils.cli import add_base, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_base(parser, 'converted pretrained weights', required=True)
    parser.add_argument('--soma_ckpt', required=True, help='adapter file')
    parser.add_argument('--merged_ckpt', required=True, help='file to write (.pth, .safetensors)')
    parser.add_argument(
        '--keep-adapter', action='store_true', help='do not fold it in, to train on from this file'
    )
    parser.add_argument('--alpha', type=float, help='of a file without a card (default: its rank)')
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Merge, say what was written."""
    args = parse_args()
    with command(args.trust):
        merge_files(
            args.backbone_ckpt,
            args.soma_ckpt,
            args.merged_ckpt,
            args.keep_adapter,
            args.force,
            args.alpha,
        )
        print(args.merged_ckpt)


if __name__ == '__main__':
    main()
