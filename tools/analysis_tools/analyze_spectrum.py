"""Show the singular values of a checkpoint's weights, and how far training has moved them."""

import argparse
import sys

from soma.io.files import check_folder
from soma.utils.cli import ScriptParser, add_base, add_checkpoint, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_checkpoint(parser, 'any checkpoint or adapter file')
    parser.add_argument('--against', metavar='BASE', help='what to compare it with: any checkpoint')
    add_base(parser, 'pretrained weights of an adapter (default: what it is compared with)')
    parser.add_argument(
        '--rank',
        type=int,
        default=16,
        help='components that count as minor, and as principal (%(default)s)',
    )
    parser.add_argument(
        '--layers',
        metavar='REGEX',
        help='names of layers, matched in full (default: linear layers and convolutions of the '
        'backbone, without embeddings)',
    )
    parser.add_file('out', 'folder for spectrum.json and charts', place=False, required=False)
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Analyse, print tables, write files."""
    args = parse_args()
    # here, so that --help need not wait
    from spectrum_report import drift_table, learned_table, save_analysis, spectra_table

    from soma.checkpoints.analysis import analyze_file
    from soma.utils.tables import as_text

    with command(args.trust, ValueError):
        if args.out:
            check_folder(args.out)
        analysis = analyze_file(
            args.checkpoint, args.against, args.base, args.layers, args.rank, args.force
        )
        if analysis.left_out:
            some = [f'{name} ({why})' for name, why in analysis.left_out.items()]
            more = f' and {len(some) - 5} more' if len(some) > 5 else ''
            sys.stderr.write(f'warning: not compared: {", ".join(some[:5])}{more}\n')
        print(as_text(spectra_table(analysis), 120))
        if analysis.drift:
            print(as_text(drift_table(analysis), 120))
        if any(drift.learned for drift in analysis.drift.values()):
            print(as_text(learned_table(analysis), 120))
        if args.out:
            print('\n'.join(map(str, save_analysis(analysis, args.out))))


if __name__ == '__main__':
    main()
