"""Make COCO's JSON of YOLO's boxes, or of the polygons around them: a file a split."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('yolo', __doc__, subset=False)
    from soma.datasets.prepare.convert_yolo import main  # here, so that --help need not wait

    sys.exit(main(args))
