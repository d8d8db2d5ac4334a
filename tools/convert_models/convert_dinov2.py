"""Convert public DINOv2 weights to the patch and image size of a config."""

import argparse

from soma.checkpoints import convert_dinov2_file
from soma.models.backbones.dinov2_weights import POS_EMBED_INTERP
from soma.utils.cli import add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pretrained', help='public, timm or transformers file (.pth, .safetensors)')
    parser.add_argument('converted', help='file to write (.pth, .safetensors)')
    parser.add_argument('--height', type=int, default=512, help='of the image, in pixels')
    parser.add_argument('--width', type=int, default=512, help='of the image, in pixels')
    parser.add_argument('--patch-size', '--kernel', type=int, default=16, help='in pixels')
    parser.add_argument(
        '--pos-embed-interp',
        choices=POS_EMBED_INTERP,
        default='exact',
        help="how positions are resized: the same as in the config's backbone",
    )
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Convert one file."""
    args = parse_args()
    size = (args.height, args.width)
    with command(args.trust, ValueError):
        count = convert_dinov2_file(
            args.pretrained, args.converted, size, args.patch_size, args.pos_embed_interp
        )
        print(
            f'{count} tensors for {size} pixels in patches of {args.patch_size}: {args.converted}'
        )


if __name__ == '__main__':
    main()
