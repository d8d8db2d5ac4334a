"""Convert the labels of SYNTHIA (RAND_CITYSCAPES) to train ids."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('synthia', __doc__)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
