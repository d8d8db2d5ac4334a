"""Convert the labels of UrbanSyn to train ids, in files beside the originals."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('urbansyn', __doc__)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
