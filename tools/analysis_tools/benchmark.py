"""Measure the speed of a config: images a second and peak memory, in training and testing.

No data is needed.
"""

import argparse

from soma.io.files import check_output, write_json
from soma.utils.cli import ScriptParser, add_checkpoint, add_config, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_config(parser)
    add_checkpoint(parser, 'file to start from (default: none)', required=False)
    parser.add_argument('--phase', choices=['train', 'test', 'both'], default='both')
    parser.add_argument('--batch-size', type=int, help="images a step (default: the config's)")
    parser.add_argument('--iters', type=int, default=20, help='timed iterations (%(default)s)')
    parser.add_argument('--warmup', type=int, default=5, help='iterations before (%(default)s)')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('WIDTH', 'HEIGHT'),
        help="of a segmentor's test images (2048 1024), while training takes the config's crops; "
        "of a detector's images in both phases (default: the config's)",
    )
    parser.add_argument('--amp', action='store_true', help='compute in mixed precision')
    parser.add_file('out', 'JSON file for what was measured', place=False, required=False)
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, write a file."""
    args = parse_args()
    # here, so that --help need not wait
    from speed import Settings, measure_speed, speed_table

    with command(args.trust, ValueError):
        if args.out:
            check_output(args.out, suffixes=('.json',))
        settings = Settings(
            config=args.config,
            checkpoint=args.checkpoint,
            batch_size=args.batch_size,
            size=args.size and tuple(args.size),
            iterations=args.iters,
            warmup=args.warmup,
            amp=args.amp,
            options=args.cfg_options,
            trust=args.trust,
        )
        speed = measure_speed(settings, ['train', 'test'] if args.phase == 'both' else [args.phase])
        print(speed_table(speed))
        if args.out:
            write_json(speed, args.out)


if __name__ == '__main__':
    main()
