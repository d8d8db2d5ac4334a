"""Draw semantic masks of COCO's instances, for COCO-20i."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('coco', __doc__, subset=False)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
