"""Look at a folder of images with masks or boxes, and write a config to train on it."""

import argparse
import shlex
from pathlib import Path

from soma.utils.cli import ScriptParser, add_nproc, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('data', 'folder of images and masks, or of images and JSON files as COCO has')
    parser.add_file('out', 'config to write, such as my_data.py', place=False)
    parser.add_argument('--method', default='soma', help='folder of configs/ (%(default)s)')
    parser.add_argument(
        '--arch',
        default='small',
        help='small, base or large DINOv2, dinov3-S, -B or -L, or eva02-L, clip-L, siglip2-L or '
        'sam-L with mask2former (%(default)s)',
    )
    parser.add_argument('--base', metavar='WEIGHTS', help='pretrained weights of that network')
    parser.add_argument('--head', help='of masks: semfpn, mask2former, eomt or linear (semfpn)')
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='names of the classes')
    parser.add_argument(
        '--val-split',
        type=float,
        default=0.2,
        metavar='SHARE',
        help='of the images to validate on, where there is no folder val (%(default)s)',
    )
    parser.add_argument('--iters', type=int, default=4000, help='steps to train (%(default)s)')
    add_nproc(parser)
    return parser.parse_args()


def main() -> None:
    """Look, write, say what was seen and what comes next."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.datasets.prepare.counts import counts_table
    from soma.datasets.prepare.new_config import write_config
    from soma.datasets.prepare.recipe import Recipe
    from soma.utils.config import REPOSITORY, path_from
    from soma.utils.tables import as_text

    with command():
        recipe = Recipe(args.method, args.arch, args.head, args.iters, args.base)
        data = write_config(
            Path(args.data), Path(args.out), recipe, args.classes, args.val_split, args.nproc
        )
    print(as_text(counts_table(data.counts)))
    print('\n'.join(data.lines()))
    tools = shlex.quote(path_from(REPOSITORY / 'tools', Path.cwd()))
    config, trained = shlex.quote(args.out), shlex.quote(f'work_dirs/{Path(args.out).stem}')
    print(f'{args.out} is written. Next:')
    print(f'  python {tools}/check_data.py {config}')
    print(f'  python {tools}/train.py {config}')
    print(f'  python {tools}/test.py {config} {trained}')
    print(f'  python {tools}/predict.py {config} {trained} NEW_IMAGES')


if __name__ == '__main__':
    main()
