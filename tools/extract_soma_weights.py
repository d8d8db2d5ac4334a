"""Extract adapter and head of a training checkpoint, to share them."""

import argparse
import os

from soma.utils.cli import ScriptParser, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('checkpoint', 'training checkpoint', '--final_ckpt')
    parser.add_file('out', 'file to write (.safetensors, .pth)', '--soma_ckpt', place=False)
    parser.add_argument(
        '--part',
        choices=['state_dict', 'ema_state_dict'],
        help='which weights; with an average in training, state_dict is the average (default)',
    )
    parser.add_argument('--alpha', type=float, help='of a file without a card (default: its rank)')
    parser.add_argument(
        '--target_modules',
        '--target-modules',
        nargs='+',
        metavar='NAME',
        help='refuse a file whose adapter is in other layers than these: q k v proj fc1 fc2',
    )
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Extract, print what was written."""
    args = parse_args()
    from soma.checkpoints.extract import extract_adapter  # here, so that --help need not wait

    with command(args.trust):
        card = extract_adapter(
            args.checkpoint, args.out, args.part, args.alpha, args.target_modules
        )
        size = os.path.getsize(args.out) / 1e6
        rank = f' of rank {card.settings["rank"]}' if card.settings.get('rank') else ''
        print(f'{card.method}{rank}, {size:.1f} MB: {args.out}')


if __name__ == '__main__':
    main()
