"""Merge an adapter file with the pretrained weights that it was trained on."""

import argparse

from soma.utils.cli import ScriptParser, add_base, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_base(parser, 'pretrained weights (default: those in the file)')
    names = ('--checkpoint', '--soma_ckpt', '--rein_head')
    parser.add_file('adapter', 'adapter file', *names, place=False)
    names = ('--merged_ckpt', '--segmentor_save_path')
    parser.add_file('out', 'file to write (.pth, .safetensors)', *names, place=False)
    parser.add_argument(
        '--keep-adapter', action='store_true', help='do not fold it in, to train on from this file'
    )
    parser.add_argument('--alpha', type=float, help='of a file without a card (default: its rank)')
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Merge, print what was written."""
    args = parse_args()
    from soma.checkpoints.merge import merge_files  # here, so that --help need not wait

    with command(args.trust):
        merge_files(args.base, args.adapter, args.out, args.keep_adapter, args.force, args.alpha)
        print(args.out)


if __name__ == '__main__':
    main()
