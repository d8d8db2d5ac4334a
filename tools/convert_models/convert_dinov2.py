"""Convert public DINOv2 weights to the patch and image size of a config."""

import argparse

from soma.utils.cli import ScriptParser, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file(
        'base',
        "file of DINOv2's authors or training, timm, transformers or SoMA's release",
        '--backbone',
        '--backbone_ckpt',
        '--pretrained',
    )
    parser.add_file('out', 'file to write (.pth, .safetensors)', '--converted')
    parser.add_argument('--height', type=int, default=512, help='of the image, in pixels')
    parser.add_argument('--width', type=int, default=512, help='of the image, in pixels')
    parser.add_argument('--patch-size', '--kernel', type=int, default=16, help='in pixels')
    parser.add_argument(
        '--pos-embed-interp',
        choices=['exact', 'dinov2'],
        default='exact',
        help="how positions are resized: the same as in the config's backbone",
    )
    parser.add_argument(
        '--prefix',
        default='',
        help='what the names of the backbone start with in a file of a whole model, such as '
        "student.backbone (default: nothing, or teacher.backbone as in DINOv2's training)",
    )
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Convert one file."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.checkpoints.convert import convert_dinov2_file

    size = (args.height, args.width)
    with command(args.trust, ValueError):
        count = convert_dinov2_file(
            args.base, args.out, size, args.patch_size, args.pos_embed_interp, args.prefix
        )
        print(f'{count} tensors for {size} pixels in patches of {args.patch_size}: {args.out}')


if __name__ == '__main__':
    main()
