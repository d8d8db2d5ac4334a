"""The same as ``tools/misc/make_fractals.py``."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).with_name('misc') / 'make_fractals.py'
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])
