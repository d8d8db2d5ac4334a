"""Check the train ids of Dark Zurich, and make those that are missing from labelIds."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('dark_zurich', __doc__, subset=False))
