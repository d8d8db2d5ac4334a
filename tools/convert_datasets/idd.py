"""Convert the polygons of the India Driving Dataset to train ids."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('idd', __doc__))
