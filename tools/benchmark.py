"""The same as ``tools/analysis_tools/benchmark.py``."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    script = Path(__file__).parent / 'analysis_tools' / 'benchmark.py'
    runpy.run_path(str(script), run_name='__main__')
