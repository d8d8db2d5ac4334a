"""Check the labels of BDD100K (10k), which are train ids; --out makes good what is not."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('bdd100k', __doc__))
