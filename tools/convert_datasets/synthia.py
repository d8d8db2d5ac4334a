"""Convert the labels of SYNTHIA (RAND_CITYSCAPES) to train ids."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('synthia', __doc__))
