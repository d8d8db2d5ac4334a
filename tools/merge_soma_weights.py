"""Merge an adapter file with the pretrained weights that it was trained on."""

import argparse

from soma.utils.cli import ScriptParser, add_base, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_base(parser, 'pretrained weights (default: those in the file)')
    names = ('--checkpoint', '--soma_ckpt', '--rein_head')
    parser.add_file('adapter', 'adapter file', *names, place=False)
    names = ('--merged_ckpt', '--segmentor_save_path', '--dinov2_segmentor_path')
    parser.add_file('out', 'file to write (.pth, .safetensors)', *names, place=False)
    parser.add_argument(
        '--keep-adapter', action='store_true', help='do not fold it in, to train on from this file'
    )
    parser.add_argument('--alpha', type=float, help='of a file without a card (default: its rank)')
    parser.add_argument(
        '--config', help='of the model, for the sizes to convert a published base to'
    )
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Merge, print what was written."""
    args = parse_args()
    from soma.checkpoints.merge import merge_files  # here, so that --help need not wait

    with command(args.trust):
        files, options = (args.base, args.adapter, args.out), (args.keep_adapter, args.force)
        merge_files(*files, *options, args.alpha, args.config)
        print(args.out)


if __name__ == '__main__':
    main()
