"""Check the train ids of MUSES, and make those that are missing from labelIds."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('muses', __doc__, subset=False)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
