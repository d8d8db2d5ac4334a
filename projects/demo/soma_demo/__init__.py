"""The demos: SoMA against its baselines, from one domain to unseen ones, in minutes."""

from .demo import Demo
from .real import REAL, missing_inputs, on_inputs, weights_file
from .run import run_demo
from .toy import DETECTION, SEGMENTATION

DEMOS = {'segmentation': SEGMENTATION, 'detection': DETECTION, 'real': REAL}

__all__ = ['DEMOS', 'Demo', 'missing_inputs', 'on_inputs', 'run_demo', 'weights_file']
