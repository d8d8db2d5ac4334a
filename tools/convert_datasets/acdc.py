"""Check the train ids of ACDC, and make those that are missing from labelIds."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('acdc', __doc__, subset=False))
