"""The same as ``convert_dinov2.py``, under the name that SoMA's release has for it."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).with_name('convert_dinov2.py')
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])
