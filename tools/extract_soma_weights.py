"""Extract adapter and head of a training checkpoint, to share them."""

import argparse
import os

from soma.checkpoints import extract_adapter
from soma.utils.cli import add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--final_ckpt', required=True, help='training checkpoint')
    parser.add_argument('--soma_ckpt', required=True, help='file to write (.safetensors, .pth)')
    parser.add_argument(
        '--part',
        choices=['state_dict', 'ema_state_dict'],
        help='which weights; with an average in training, state_dict is the average (default)',
    )
    parser.add_argument('--alpha', type=float, help='of a file without a card (default: its rank)')
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Extract, say what was written."""
    args = parse_args()
    with command(args.trust):
        card = extract_adapter(args.final_ckpt, args.soma_ckpt, args.part, args.alpha)
        size = os.path.getsize(args.soma_ckpt) / 1e6
        rank = card.settings.get('rank')
        print(f'{card.method}{rank and f" of rank {rank}" or ""}, {size:.1f} MB: {args.soma_ckpt}')


if __name__ == '__main__':
    main()
