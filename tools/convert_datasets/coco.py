"""Draw semantic masks of COCO's instances, for COCO-20i."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('coco', __doc__, subset=False))
