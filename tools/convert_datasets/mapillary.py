"""Convert the labels of Mapillary Vistas v1.2 to train ids, and halve its validation split."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('mapillary', __doc__))
