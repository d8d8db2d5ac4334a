"""Convert the labels of CamVid to train ids, and list its images by drive: day and dusk."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('camvid', __doc__, subset=False))
