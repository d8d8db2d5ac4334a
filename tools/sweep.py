"""Train a config with several values of its keys, and say which are best.

Lists are tried in each combination. With --trials values are drawn, of lists and of ranges, those
near to what was good more often (TPE). The same command goes on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

from soma.utils.cli import KeyValue, ScriptParser, add_cluster, add_config, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    parser.add_argument(
        '--param',
        nargs='+',
        required=True,
        action=KeyValue,
        metavar='KEY=VALUES',
        help='key=1e-4,3e-4 or, with --trials, key=1e-5..1e-2 or key=log:1e-5..1e-2',
    )
    parser.add_argument('--trials', type=int, metavar='N', help='draw values for so many trainings')
    parser.add_argument('--score', help="what is best (default: the config's save_best)")
    parser.add_argument(
        '--prune-after',
        type=int,
        default=4,
        metavar='N',
        help='when N trainings have ended, stop those that are below their median (%(default)s)',
    )
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/NAME_OF_THE_CONFIG_sweep')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument('--jobs', type=int, help='trainings at a time (default: 1; on Slurm all)')
    add_trust(parser)
    add_cluster(parser)
    return parser.parse_args()


def main() -> None:
    """Train what is not trained yet, print the table, say what failed."""
    args = parse_args()
    with command(False, ValueError):
        from sweep_trials import read_sweep  # here, so that --help need not wait

        from soma.utils.cluster import start_from, workers_from
        from soma.utils.jobs import interrupt_on_signals
        from soma.utils.tables import as_text

        interrupt_on_signals()
        start, sweep = start_from(args), read_sweep(args)
        failed = sweep.run(workers_from(args, 1), start)
        print(as_text(sweep.write(failed)))
    print(f'the table is in {sweep.work_dir}/sweep.md')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
