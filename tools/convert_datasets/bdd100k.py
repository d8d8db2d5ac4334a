"""Check the labels of BDD100K (10k), which are train ids; --out makes good what is not."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('bdd100k', __doc__)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
