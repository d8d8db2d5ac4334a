"""The same as ``tools/analysis_tools/benchmark.py``."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).with_name('analysis_tools') / 'benchmark.py'
    os.execv(sys.executable, [sys.executable, str(script), *sys.argv[1:]])
