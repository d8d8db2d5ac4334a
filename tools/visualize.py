"""Write an image, or each of a folder, beside its segmentation or boxes, with a legend."""

import argparse

from soma.utils.cli import ScriptParser, add_base, add_checkpoint, add_trust, command
from soma.utils.config import load_config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('config', 'config file')
    add_checkpoint(parser)
    parser.add_file('image', 'image or folder', '--images')
    parser.add_argument('--suffix', help='what the names of the images end with, such as .png')
    add_base(parser)
    parser.add_file(
        'out',
        'folder to write to (work_dirs/visualize)',
        '--save-dir',
        '--save_dir',
        place=False,
        required=False,
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        metavar='SCORE',
        help="leave out a detector's boxes of lower scores (%(default)s)",
    )
    parser.add_argument('--device', help='cpu, cuda:0 ...; the first GPU if there is one')
    add_trust(parser)
    parser.set_defaults(out='work_dirs/visualize')
    return parser.parse_args()


def main() -> None:
    """Load the model, predict, draw."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.inference.drawing import check_score
    from soma.inference.inferencer import Inferencer
    from soma.inference.visualize import plan_drawings, visualize

    with command(args.trust):
        config = load_config(args.config)
        check_score(args.score_thr)  # this is said before models load
        plan_drawings(args.image, args.out, args.suffix)
        inferencer = Inferencer(config, args.checkpoint, args.device, args.base, args.force)
        for file in visualize(inferencer, args.image, args.out, args.score_thr, args.suffix):
            print(file)


if __name__ == '__main__':
    main()
