"""Test several models of one config together on every domain."""

import argparse
import os

from soma.utils.cli import add_base, add_test, command, runner_parser


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = runner_parser(__doc__)
    parser.add_file(
        'checkpoints',
        'training checkpoints, adapter files or merged files',
        '--checkpoint',
        '--adapters',
        '--adapter',
        many=True,
    )
    add_base(parser, "pretrained weights of the adapters (default: the config's)")
    add_test(parser)
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--operation',
        choices=['add', 'mul', 'logits', 'mul-input'],
        default='add',
        help='mean of the softmaxes, their product, or mean of the scores before the softmax, each '
        "at an image's full size; mul-input: their product in each window, before resizing",
    )
    words.add_argument(
        '--method',
        dest='operation',
        type=method,
        metavar='{add,mul}',
        default=argparse.SUPPRESS,
        help="the same in ReVT's words: its add is --operation logits, its mul mul-input",
    )
    args = parser.parse_args()
    if len(args.checkpoints) < 2:
        parser.error('name two checkpoints or more; tools/test.py tests one')
    files = [*map(os.path.realpath, args.checkpoints)]
    for index, file in enumerate(files):
        if file in files[:index]:
            parser.error(f'{args.checkpoints[index]} is given twice')
    return args


def method(word: str) -> str:
    """The operation that a word of ReVT's script means."""
    operations = {'add': 'logits', 'mul': 'mul-input'}
    if word not in operations:
        raise argparse.ArgumentTypeError(f'{word!r} is none of add, mul')
    return operations[word]


def main() -> None:
    """Build an ensemble of plain models, load each, test."""
    args = parse_args()
    from mmengine.registry import RUNNERS  # here, as all below, so that --help need not wait

    from soma.checkpoints.open import load_plain
    from soma.evaluation.prepare import prepare_test, say_what_is_tested
    from soma.models.build import plain_model

    with command(args.trust):
        config, left_out = prepare_test(args, len(args.checkpoints), args.operation)
        runner = RUNNERS.build(config)
        say_what_is_tested(runner, args)
        members = plain_model(runner.model).members
        for member, checkpoint in zip(members, args.checkpoints, strict=True):
            load_plain(member, checkpoint, args.base, args.force, left_out)
        runner.test()


if __name__ == '__main__':
    main()
