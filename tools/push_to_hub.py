"""Put an adapter on the Hugging Face Hub with a page that tells what it is, or into a folder."""

import argparse

from soma.utils.cli import ScriptParser, add_checkpoint, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    add_checkpoint(parser, 'training checkpoint or adapter file')
    parser.add_file('repo', 'name of the model on the hub, user/name')
    parser.add_argument(
        '--licence',
        '--license',
        required=True,
        help="the hub's name of a licence, such as apache-2.0, or the https:// address of its text",
    )
    parser.add_argument('--report', metavar='JSON', help='domains_test.json of tools/test.py')
    parser.add_argument(
        '--base-model',
        metavar='USER/NAME',
        help="the pretrained model on the hub (default: known of DINOv2's)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument('--private', action='store_true', help='only its owner may see it')
    place.add_argument('--to', metavar='FOLDER', help='write the files there, upload nothing')
    add_trust(parser)
    return parser.parse_args()


def main() -> None:
    """Write or upload, print where."""
    args = parse_args()
    from soma.checkpoints.hub import push_to_hub, write_shared  # here: --help need not wait

    about = dict(licence=args.licence, report=args.report, base_model=args.base_model)
    with command(args.trust):
        if args.to:
            print(*write_shared(args.checkpoint, args.to, args.repo, **about), sep='\n')
        else:
            print(push_to_hub(args.checkpoint, args.repo, private=args.private, **about))


if __name__ == '__main__':
    main()
