"""Convert the labels of CamVid to train ids, and list its images by drive: day and dusk."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('camvid', __doc__, subset=False)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
