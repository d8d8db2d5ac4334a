"""Make COCO's JSON of YOLO's boxes, or of the polygons around them: a file a split."""

import sys
from pathlib import Path

from conversion import parse_args, print_summary

from soma.utils.cli import command


def main() -> int:
    """Convert, print; returns 1 if an image was left out."""
    args = parse_args('yolo', __doc__, subset=False)
    # here, so that --help need not wait
    from soma.datasets.prepare.convert_yolo import convert_yolo

    out = Path(args.out or args.root)
    with command():
        summary = convert_yolo(args.root, out, args.nproc)
    print_summary(args.dataset, summary, out)
    print(f"for a config: DomainCocoDataset, data_root='{out}', data_prefix=dict(img='')")
    return 1 if summary.failures else 0


if __name__ == '__main__':
    sys.exit(main())
