"""The same as ``merge_soma_weights.py --keep-adapter``, under the name that Rein's release has."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).with_name('merge_soma_weights.py')
    os.execv(sys.executable, [sys.executable, str(script), '--keep-adapter', *sys.argv[1:]])
