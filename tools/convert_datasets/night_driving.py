"""Check the train ids of Nighttime Driving, and make those that are missing from labelIds."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('night_driving', __doc__, subset=False))
