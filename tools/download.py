"""Download public weights or data by name: on from where it broke off, and checked."""

import argparse

from soma.io.public import DATASETS, WEIGHTS, fetch_dataset, fetch_weights, named_weights
from soma.utils.cli import ScriptParser, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_argument(
        'names',
        nargs='*',
        metavar='name',
        help='such as dinov2_vitl14, timm/vit_base_patch16_clip_224.openai, camvid',
    )
    parser.add_file(
        'out', 'folder (default: checkpoints, of data: data)', place=False, required=False
    )
    parser.add_argument('--url', help='another address of the file, or a link of your own')
    parser.add_argument('--list', action='store_true', help='list the names')
    args = parser.parse_args()
    if bool(args.names) == args.list:
        parser.error('give names, or --list')
    if args.url and len(args.names) != 1:
        parser.error('--url is of one name')
    return args


def print_list() -> None:
    """Print what there is."""
    from rich.table import Table

    from soma.utils.tables import as_text

    table = Table('name', 'MB', 'licence', 'address')
    for name, weights in WEIGHTS.items():
        table.add_row(name, str(weights.size), weights.licence, weights.url or weights.page)
    table.add_row('timm/NAME', '', 'of the model', 'https://huggingface.co/timm')
    for name, data in DATASETS.items():
        table.add_row(name, str(data.size), data.licence, data.url)
    print(as_text(table))


def main() -> None:
    """Download, print the paths."""
    args = parse_args()
    if args.list:
        print_list()
    with command():
        licences = {
            name: (DATASETS[name] if name in DATASETS else named_weights(name)).licence
            for name in args.names
        }
        for name, licence in licences.items():
            fetch, folder = fetch_weights, 'checkpoints'
            if name in DATASETS:
                fetch, folder = fetch_dataset, 'data'
            print(f'{fetch(name, args.out or folder, args.url or "")} (licence: {licence})')


if __name__ == '__main__':
    main()
