"""The same as ``tools/misc/pack_submission.py``."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).with_name('misc') / 'pack_submission.py'
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])
