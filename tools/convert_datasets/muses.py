"""Check the train ids of MUSES, and make those that are missing from labelIds."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('muses', __doc__, subset=False))
