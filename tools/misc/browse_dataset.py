"""Write images of a config's data beside their ground truth, after the train pipeline."""

import argparse

from soma.utils.cli import ScriptParser, add_config, command
from soma.utils.config import load_config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    parser.add_file(
        'out',
        'folder to write to (default: work_dir/browse)',
        '--output-dir',
        place=False,
        required=False,
    )
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument('--number', type=int, default=20, help='how many images (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of choice and pipeline (%(default)s)')
    return parser.parse_args()


def main() -> None:
    """Draw, print where."""
    args = parse_args()
    from dataset_sheets import browse_dataset  # here, so that --help need not wait

    with command(False, ValueError):
        config = load_config(args.config, args.cfg_options)
        out = args.out or f'{config.work_dir}/browse'
        files = browse_dataset(config, out, args.split, args.number, args.seed)
    print(f'{len(files)} images in {out}')


if __name__ == '__main__':
    main()
