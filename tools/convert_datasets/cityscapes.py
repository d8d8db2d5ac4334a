"""Convert the labels of Cityscapes (gtFine) to train ids."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('cityscapes', __doc__))
