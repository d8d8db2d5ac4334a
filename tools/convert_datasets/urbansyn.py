"""Convert the labels of UrbanSyn to train ids, in files beside the originals."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('urbansyn', __doc__))
