"""Export an adapter for peft, or a merged model for timm, DINOv2's own code or ONNX."""

import argparse

from soma.utils.cli import ScriptParser, add_base, add_trust, command

OF = {
    'base_model': 'peft',
    'base_name': 'peft',
    'window': 'onnx',
    'dynamic': 'onnx',
    'precision': 'onnx',
    'opset': 'onnx',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('adapter', 'adapter file, or another checkpoint', '--checkpoint')
    parser.add_file('out', 'directory (peft) or file to write')
    parser.add_argument('--to', choices=['peft', 'timm', 'dinov2', 'onnx'], required=True)
    add_base(parser, "pretrained weights of the adapter (--to onnx: default, the config's)")
    peft = parser.add_argument_group('--to peft')
    peft.add_argument(
        '--base-model',
        choices=['transformers', 'transformers-old', 'timm', 'same'],
        help='whose DINOv2 the adapter is put on (default: transformers); -old is before 5.18; '
        'same: any model that has the names of the adapter, as the one that it was trained in',
    )
    peft.add_argument('--base-name', help="the base model's name or folder, for peft's config")
    parser.add_argument(
        '--config',
        help='config of the model: --to onnx needs it, --to timm and dinov2 for the sizes to '
        'convert a published base to',
    )
    onnx = parser.add_argument_group('--to onnx')
    sizes = onnx.add_mutually_exclusive_group()
    sizes.add_argument(
        '--window', type=int, nargs=2, metavar=('H', 'W'), help="in pixels (default: the config's)"
    )
    sizes.add_argument(
        '--dynamic',
        action='store_true',
        default=None,
        help='images of any number, height and width (plain vision transformers)',
    )
    onnx.add_argument(
        '--precision',
        choices=['fp32', 'fp16', 'int8'],
        help='of weights and products; int8: matrices, rounded without images (default: fp32)',
    )
    onnx.add_argument('--opset', type=int, help="version of ONNX's operators (default: 17)")
    add_trust(parser)
    args = parser.parse_args()
    for name, to in OF.items():
        if getattr(args, name) is not None and args.to != to:
            parser.error(f'--{name.replace("_", "-")} belongs to --to {to}')
    if args.to == 'onnx' and args.config is None:
        parser.error('--to onnx needs --config')
    if args.to == 'peft' and args.config is not None:
        parser.error('--config is of no use with --to peft')
    return args


def main() -> None:
    """Export, print what was written."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.checkpoints.export.backbone import export_backbone
    from soma.checkpoints.export.peft import export_peft

    with command(args.trust, RuntimeError):
        files = (args.adapter, args.out)
        if args.to == 'peft':
            config = export_peft(
                *files, args.base, args.base_model or 'transformers', args.base_name, args.force
            )
            print(f'{len(config["target_modules"])} layers of rank {config["r"]}: {args.out}')
        elif args.to == 'onnx':
            # since only this needs onnxruntime and mmseg.
            try:
                from soma.checkpoints.export.onnx import OPSET, export_onnx
            except ImportError as error:
                raise SystemExit(f"error: {error}; pip install -e '.[onnx]' brings it") from error

            done = export_onnx(
                args.config,
                *files,
                args.window,
                args.base,
                args.opset or OPSET,
                args.force,
                dynamic=bool(args.dynamic),
                precision=args.precision or 'fp32',
            )
            size = 'any size' if done.size is None else '{} x {} pixels'.format(*done.size)
            print(f'{size}: {args.out}')
            print(f'largest difference from PyTorch: {done.difference:.1e}')
        else:
            count = export_backbone(*files, args.to, args.base, args.force, args.config)
            print(f'{count} tensors: {args.out}')


if __name__ == '__main__':
    main()
