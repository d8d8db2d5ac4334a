"""Check the labels of Foggy Zurich, which are train ids."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('foggy_zurich', __doc__, subset=False))
