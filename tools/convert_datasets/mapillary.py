"""Convert the labels of Mapillary Vistas v1.2 to train ids, and halve its validation split."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('mapillary', __doc__)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
