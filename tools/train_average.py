"""Train the models of a set one after the other, average them and test the average (ReVT).

The same command goes on where it was stopped. What tools/train.py has trained is not trained again.
"""

import argparse
import shlex
import sys

from soma.utils.cli import add_test, command, runner_parser
from soma.utils.stopping import seconds


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    add_test(parser)
    parser.add_argument('--list', action='store_true', help='only show what would be run')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--stop-after', type=seconds, metavar='TIME', help='as in tools/train.py, of all models'
    )
    return parser.parse_args()


def main() -> None:
    """Train what is not trained, average, test."""
    args = parse_args()
    with command(args.trust):
        from soma.engine.model_set import read_set

        models = read_set(args)
        if args.list:
            show(models, args)
            return
    train(models, args)
    with command(args.trust):
        average_and_test(models, args)


def show(models, args: argparse.Namespace) -> None:
    """Print how far the models are, and the commands that do the same one by one."""
    from rich.console import Console
    from rich.table import Table

    table = Table('model', 'training', box=None)
    lines, options = [], []
    for key, value in (args.cfg_options or {}).items():
        options += ['--cfg-options'] * (not options) + [f'{key}={value}']
    for member in models.members:
        table.add_row(member.checkpoint.parent.name, member.state)
        work = ['--work-dir', str(member.checkpoint.parent), '--resume']
        lines.append(['tools/train.py', member.config.filename, *work, *options])
    average = ['--checkpoints', *(str(member.checkpoint) for member in models.members)]
    for key, value in models.options.items():
        values = value if isinstance(value, list | tuple) else [value]
        average += [f'--{key.replace("_", "-")}', *map(str, values)]
    lines.append(['tools/model_reparameterization.py', str(models.out), *average])
    work = ['--work-dir', str(models.out.parent)]
    lines.append(['tools/test.py', args.config, str(models.out), *work, *options])
    Console(markup=False).print(table)
    sys.stdout.writelines(f'python {shlex.join(line)}\n' for line in lines)


def train(models, args: argparse.Namespace) -> None:
    """Train the models that are not trained, each from its newest checkpoint."""
    from mmengine.registry import RUNNERS

    from soma.engine.amp import use_amp
    from soma.engine.hooks.stop import StopHook

    stop = StopHook(shlex.join(['python', *sys.argv]), args.stop_after)
    with stop, command(args.trust):
        for member in models.members:
            if member.checkpoint.is_file():
                continue
            if args.amp:
                use_amp(member.config)
            member.config.resume = 'auto'
            runner = RUNNERS.build(member.config)
            runner.register_hook(stop)
            runner.train()


def average_and_test(models, args: argparse.Namespace) -> None:
    """Average the models; test a plain model with the average."""
    from mmengine.dist import barrier, is_main_process
    from mmengine.registry import RUNNERS

    from soma.checkpoints.open import load_plain
    from soma.evaluation.prepare import prepare_test

    args.work_dir = str(models.out.parent)
    config, left_out = prepare_test(args)
    runner = RUNNERS.build(config)
    if is_main_process():
        models.average()
    barrier()
    load_plain(runner.model, models.out, left_out=left_out)
    runner.test()


if __name__ == '__main__':
    main()
