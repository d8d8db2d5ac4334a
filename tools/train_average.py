"""Train the models of a set one after the other, average them and test the average (ReVT).

The same command goes on where it was stopped. What tools/train.py has trained is not trained again.
--stop-after counts the time of all models.
"""

import argparse
import sys

from soma.utils.cli import add_test, add_training, command, runner_parser
from soma.utils.stopping import resume_command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    add_test(parser)
    add_training(parser)
    parser.add_argument('--list', action='store_true', help='only show how far the models are')
    return parser.parse_args()


def main() -> None:
    """Check all, train what is not trained, average, test."""
    args = parse_args()
    with command(args.trust):
        from soma.engine.hooks.stop import StopHook  # here, so that --help need not wait
        from soma.engine.model_set import average_and_test, list_set, read_set, train_set
        from soma.evaluation.prepare import prepare_test

        models = read_set(args)
        if args.list:
            print(list_set(models))
            return
        args.work_dir = str(models.out.parent)
        test = prepare_test(args)
    with StopHook(resume_command(sys.argv, args), args.stop_after) as stop, command(args.trust):
        train_set(models, stop, args.amp)
    with command(args.trust):
        average_and_test(models, *test)


if __name__ == '__main__':
    main()
