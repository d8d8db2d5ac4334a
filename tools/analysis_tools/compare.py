"""Compare tests of the same data with the first of them: table, charts, page."""

import argparse

from soma.utils.cli import ScriptParser, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('tests', 'work dirs, or reports (domains_test.json), two or more', many=True)
    parser.add_argument('--names', nargs='+', help="what they are called (default: folders' names)")
    parser.add_file('out', 'folder (default: work_dirs/compare)', place=False, required=False)
    parser.set_defaults(out='work_dirs/compare')
    return parser.parse_args()


def main() -> None:
    """Compare, print the table."""
    args = parse_args()
    from comparison import compare  # here, so that --help need not wait

    from soma.utils.tables import as_text

    with command():
        table, page = compare(args.tests, args.names, args.out)
        print(as_text(table))
        print(page)


if __name__ == '__main__':
    main()
