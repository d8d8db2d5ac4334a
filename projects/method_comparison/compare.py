"""Train every method of a recipe in several settings with several seeds, test, write a report."""

import argparse
import sys
from pathlib import Path

import torch

from method_comparison import Comparison, read_recipe, read_results, run_comparison, write_report
from soma.utils.cli import add_cfg_options, add_cluster, command
from soma.utils.cluster import start_from, workers_from
from soma.utils.jobs import interrupt_on_signals
from soma.utils.machine import cores


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Finished runs are skipped as long as their configs are the same; after a change '
        'of the code or the data, remove the work dir.',
    )
    parser.add_argument('recipe', help='file that names methods and settings (see the README)')
    parser.add_argument('--methods', nargs='+', help='some of its methods (default: all)')
    parser.add_argument(
        '--add', nargs='+', default=[], metavar='NAME=CONFIG', help='further methods, of your own'
    )
    parser.add_argument('--settings', '--sources', nargs='+', help='some of its settings')
    parser.add_argument('--seeds', nargs='+', type=int, help="instead of the recipe's")
    parser.add_argument('--iterations', type=int, help="instead of the recipe's")
    add_cfg_options(parser, 'override the configs of all methods: key=value ...')
    parser.add_argument('--weights', type=Path, help='file of pretrained weights of all methods')
    parser.add_argument(
        '--gpu', action='store_true', help='run on the GPU (default: on one core of the CPU)'
    )
    parser.add_argument('--jobs', type=int, help='runs at a time (default: cores; on Slurm all)')
    add_cluster(parser)
    parser.add_argument('--work-dir', type=Path, help='default: work_dirs/NAME_OF_THE_RECIPE')
    parser.add_argument('--report', type=Path, help='write the document here too')
    return parser.parse_args()


def main() -> None:
    """Run what is not done yet, report, say what failed."""
    args = parse_args()
    torch.set_num_threads(1)  # the cores are the runs'
    interrupt_on_signals()
    options = dict(args.cfg_options or {})
    if args.weights:
        options['model.backbone.init_cfg.checkpoint'] = str(args.weights.expanduser().resolve())
    with command(False, ValueError):
        recipe = read_recipe(args.recipe, options, args.add)
        added = [text.partition('=')[0] for text in args.add]
        comparison = Comparison(
            recipe,
            (args.work_dir or Path('work_dirs', recipe.name)).resolve(),
            (*args.methods, *added) if args.methods else tuple(recipe.methods),
            tuple(args.settings or recipe.chosen),
            tuple(args.seeds or recipe.seeds),
            recipe.iterations if args.iterations is None else args.iterations,
            args.gpu,
        )
        failed = run_comparison(comparison, workers_from(args, cores()), start_from(args))
        results = read_results(comparison)
        write_report(comparison, results, *filter(None, [args.report]))
    for name, reason in failed.items():
        print(f'{name} failed: {reason}\n')
    if results:
        print(f'the report is in {comparison.document}')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
