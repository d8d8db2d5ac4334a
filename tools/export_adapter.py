"""Export an adapter for peft, or a merged model for timm, DINOv2's own code or ONNX."""

import argparse

from soma.checkpoints import export_backbone, export_peft
from soma.checkpoints.peft import NAMES
from soma.cli import add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('adapter', help='adapter file, or another checkpoint')
    parser.add_argument('out', help='directory (peft) or file to write')
    parser.add_argument('--to', choices=['peft', 'timm', 'dinov2', 'onnx'], required=True)
    parser.add_argument('--backbone_ckpt', help='base weights that the adapter was trained on')
    parser.add_argument('--force', action='store_true', help='accept other base weights')
    peft = parser.add_argument_group('--to peft')
    peft.add_argument(
        '--base-model',
        choices=list(NAMES),
        default='transformers',
        help='whose DINOv2 the adapter is put on; transformers-old is before 5.18',
    )
    peft.add_argument('--base-name', help="the base model's name or folder, for peft's config")
    onnx = parser.add_argument_group('--to onnx')
    onnx.add_argument('--config', help='config of the model')
    onnx.add_argument('--window', type=int, nargs=2, default=(512, 512), metavar=('H', 'W'))
    onnx.add_argument('--opset', type=int, default=18, help="version of ONNX's operators")
    add_trust(parser)
    args = parser.parse_args()
    if args.to == 'onnx' and args.config is None:
        parser.error('--to onnx needs --config')
    return args


def main() -> None:
    """Export, say what was written."""
    args = parse_args()
    with command(args.trust, RuntimeError):
        files = (args.adapter, args.out)
        if args.to == 'peft':
            config = export_peft(
                *files, args.backbone_ckpt, args.base_model, args.base_name, args.force
            )
            print(f'{len(config["target_modules"])} layers of rank {config["r"]}: {args.out}')
        elif args.to == 'onnx':
            # Here, since only this needs onnxruntime and mmseg.
            from soma.checkpoints.onnx import export_onnx

            size = tuple(args.window)
            difference = export_onnx(
                args.config, *files, size, args.backbone_ckpt, args.opset, args.force
            )
            print(f'largest difference from PyTorch: {difference:.1e}: {args.out}')
        else:
            count = export_backbone(*files, args.to, args.backbone_ckpt, args.force)
            print(f'{count} tensors: {args.out}')


if __name__ == '__main__':
    main()
