"""The methods side by side: each one trained on toy sources with several seeds, and a report.

Every run is one of the scripts in ``tools/``, on a config that says how it differs from its
method's in ``configs/toy``.
"""

from .plan import METHODS, SOURCES, Run, Study
from .report import write_document
from .run import read_results, run_study

__all__ = ['METHODS', 'SOURCES', 'Run', 'Study', 'read_results', 'run_study', 'write_document']
