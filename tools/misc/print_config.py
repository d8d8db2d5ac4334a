"""Print a config with all that it inherits, options and paths resolved, as the scripts see it."""

import argparse

from soma.io.files import atomic_path, check_output
from soma.utils.cli import ScriptParser, add_config, command
from soma.utils.config import load_config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    parser.add_file('out', 'file to write, too', '--save-path', place=False, required=False)
    return parser.parse_args()


def main() -> None:
    """Print, write."""
    args = parse_args()
    with command(False, ValueError):
        if args.out:
            check_output(args.out, [args.config], ('.py', '.json', '.yaml', '.yml'))
        config = load_config(args.config, args.cfg_options)
        print(config.pretty_text)
        if args.out:
            with atomic_path(args.out) as temporary:
                config.dump(temporary)


if __name__ == '__main__':
    main()
