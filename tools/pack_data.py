"""Pack a dataset's files into a few large ones, from which training reads its images faster."""

import argparse

from soma.utils.cli import ScriptParser, add_nproc, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('root', 'folder of the dataset, such as data/gta')
    parser.add_file('out', 'folder to write to, new or empty')
    parser.add_argument(
        '--only',
        nargs='+',
        default=['*'],
        metavar='PATTERN',
        help="which files of it: 'images/*' 'labels/*_labelTrainIds.png' (default: all)",
    )
    parser.add_argument(
        '--shard-mb', type=int, default=1000, help='size of the files in one tar file (1000)'
    )
    add_nproc(parser)
    return parser.parse_args()


def main() -> None:
    """Pack, and say how to read it."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.datasets.packed_files import PREFIX
    from soma.datasets.prepare.pack import pack

    with command():
        packed = pack(args.root, args.out, args.only, args.shard_mb * 1_000_000, args.nproc)
    print(
        f'{packed.files} files, {packed.faster} of them as bitmaps: '
        f'{packed.size_before / 1e6:,.1f} MB became {packed.size / 1e6:,.1f} MB'
    )
    print(f'data_root={PREFIX}{args.out} in the config, or in --cfg-options, reads them')


if __name__ == '__main__':
    main()
