"""Methods side by side: each trained in several settings with several seeds, and a report.

Every run is a training and a test by the scripts in ``tools/``, on a config of its own.
"""

from .plan import Comparison, Run
from .recipe import Recipe, read_recipe
from .report import write_report
from .run import read_results, run_comparison

__all__ = [
    'Comparison',
    'Recipe',
    'Run',
    'read_recipe',
    'read_results',
    'run_comparison',
    'write_report',
]
