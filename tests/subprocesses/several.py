"""Run several scripts one after the other in one process, to save its start.

Usage: ``python several.py COMMANDS.json [further arguments of each]``. A command is a list, a
script of ``tools/`` and its arguments.
"""

import json
import runpy
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / 'tools'

if __name__ == '__main__':
    commands = json.loads(Path(sys.argv[1]).read_text())
    further = sys.argv[2:]
    for script, *arguments in commands:
        sys.argv = [script, *arguments, *further]
        runpy.run_path(str(TOOLS / script), run_name='__main__')
