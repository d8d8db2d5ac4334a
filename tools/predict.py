"""Segment images, videos or a camera, or find objects in them; write masks, overlays, a table."""

import argparse

from soma.utils.cli import ScriptParser, add_base, add_checkpoint, add_trust, command

KINDS = ('masks', 'confidence', 'entropy', 'overlays', 'boxes')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    help = 'config file, *.py; may be left out if the checkpoint has its config'
    parser.add_file('config', help, required=False, ending='.py')
    add_checkpoint(parser)
    help = "images, videos, folders, patterns ('*.jpg'), the number of a camera (0)"
    parser.add_file('source', help, '--sources', many=True)
    add_base(parser)
    parser.add_file('out', 'folder to write to (work_dirs/predict)', place=False, required=False)
    parser.add_argument(
        '--save',
        nargs='+',
        choices=KINDS,
        help='what to write (default: overlays; of images also masks or boxes)',
    )
    parser.add_argument(
        '--ids', choices=['cityscapes'], help='masks hold these ids, not places of classes'
    )
    help = "leave a detector's boxes of lower scores out of overlays and counts (%(default)s)"
    parser.add_argument('--score-thr', type=float, default=0.3, metavar='SCORE', help=help)
    help = 'share of the colours in overlays, 0 to 1 (%(default)s)'
    parser.add_argument('--opacity', type=float, default=0.6, help=help)
    help = 'every Nth frame of videos and cameras (%(default)s)'
    parser.add_argument('--every', type=int, default=1, metavar='N', help=help)
    parser.add_argument('--frames', type=int, metavar='N', help='at most N frames of each')
    help = (
        'images of one size, of 16 megapixels together, that the model takes at once (%(default)s)'
    )
    parser.add_argument('--batch', type=int, default=1, metavar='N', help=help)
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16')
    parser.add_argument('--compile', action='store_true', help='compile the backbone')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument('--device', help='cpu, cuda:0 ...; the first GPU if there is one')
    parser.add_argument('--overwrite', action='store_true', help='predict anew what is there')
    add_trust(parser)
    parser.set_defaults(out='work_dirs/predict')
    return parser.parse_args()


def main() -> None:
    """Find the images, load the model, predict."""
    args = parse_args()
    with command(args.trust):
        # here, so that --help need not wait
        from soma.utils.jobs import interrupt_on_signals

        interrupt_on_signals()  # so that no temporary file stays
        from soma.inference.predict import run_predict

        done = run_predict(args)
        print(done)
        done.check()


if __name__ == '__main__':
    main()
