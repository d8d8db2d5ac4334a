"""Average checkpoints or adapter files (ReVT)."""

import argparse

from soma.utils.cli import ScriptParser, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('out', 'file to write (.pth, .safetensors)')
    parser.add_argument(
        '--checkpoints',
        '--checkpoint',
        '--adapters',
        '--adapter',
        nargs='+',
        required=True,
        metavar='PATH',
        help='what to average',
    )
    parser.add_argument(
        '--weights-filter',
        default='',
        help='regular expression: average the weights whose name begins with it (default: all)',
    )
    parser.add_argument(
        '--operation', choices=['mean', 'min', 'trimmed', 'trimean'], default='mean'
    )
    parser.add_argument('--factors', nargs='+', type=float, help='weight of each in the mean')
    parser.add_argument(
        '--rank', type=int, help='of an averaged adapter (default: twice the largest)'
    )
    parser.add_argument('--cpu-only', action='store_true', help='do not use a GPU')
    parser.add_argument(
        '--force', action='store_true', help='average over different pretrained weights'
    )
    parser.add_argument(
        '--no-warnings', action='store_true', help='leave out weights that the first file lacks'
    )
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Average, print what was averaged."""
    args = parse_args()
    from rich.console import Console  # here, as all below, so that --help need not wait
    from rich.table import Table

    from soma.checkpoints.average import average_files

    with command(args.trust, ValueError):
        done = average_files(
            args.checkpoints,
            args.out,
            args.weights_filter,
            args.operation,
            args.factors,
            args.rank,
            args.cpu_only,
            args.force,
            args.no_warnings,
        )
        table = Table(title=args.out)
        table.add_row('tensors averaged', str(done.averaged))
        table.add_row('from the first file', str(done.kept))
        if done.rank:
            worst = max(done.errors, key=done.errors.get)
            table.add_row('adapted layers averaged', f'{done.layers}, rank {done.rank}')
            table.add_row('largest relative error', f'{done.errors[worst]:.2g} ({worst})')
        Console(markup=False).print(table)  # names are no markup


if __name__ == '__main__':
    main()
