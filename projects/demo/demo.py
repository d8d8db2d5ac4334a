"""Train on one domain, test on unseen ones, draw: SoMA and its baselines, in minutes."""

import argparse
import sys
from pathlib import Path

from soma.utils.cli import command
from soma.utils.config import REPOSITORY
from soma.utils.jobs import interrupt_on_signals
from soma_demo import DEMOS, missing_inputs, on_inputs, run_demo, weights_file


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--task', choices=DEMOS, default='segmentation')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/demo, demo_det, demo_real'
    )
    parser.add_argument(
        '--weights',
        type=weights_file,
        help='file of DINOv2 ViT-S/14, or the folder of the public one, for the task real',
    )
    parser.add_argument('--data', type=Path, help='folder of CamVid, for the task real')
    args = parser.parse_args()
    if args.task != 'real' and (args.weights or args.data):
        parser.error('--weights and --data belong to --task real')
    return args


def main() -> None:
    """Run the demo."""
    args = parse_args()
    interrupt_on_signals()  # else a training would go on
    demo = DEMOS[args.task]
    work_dir = args.work_dir or REPOSITORY / 'work_dirs' / demo.folder
    with command(False, RuntimeError):
        if args.task == 'real':
            inputs = args.weights, args.data and args.data.expanduser()
            if missing := missing_inputs(*inputs):
                sys.exit('\n'.join(f'error: {line}' for line in missing))
            demo = on_inputs(demo, *inputs, work_dir)
        run_demo(demo, work_dir)


if __name__ == '__main__':
    main()
