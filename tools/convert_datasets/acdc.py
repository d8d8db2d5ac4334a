"""Check the train ids of ACDC, and make those that are missing from labelIds."""

import sys

from soma.datasets.prepare.convert import main

if __name__ == '__main__':
    sys.exit(main('acdc', __doc__))
