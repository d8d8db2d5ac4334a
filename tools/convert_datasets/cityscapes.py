"""Convert the labels of Cityscapes (gtFine) to train ids."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('cityscapes', __doc__)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
