"""Convert the labels of GTA V to train ids."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('gta', __doc__))
