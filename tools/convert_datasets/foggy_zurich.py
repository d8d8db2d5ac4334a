"""Check the labels of Foggy Zurich, which are train ids."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('foggy_zurich', __doc__, subset=False)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
