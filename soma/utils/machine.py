"""Where this runs: processor, memory, versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict:
    """Describe what measurements depend on: processor, GPU and versions, by name."""
    import mmcv
    import mmengine
    import torch

    names = Path('/proc/cpuinfo')
    lines = names.read_text().splitlines() if names.is_file() else []
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    usable = getattr(os, 'sched_getaffinity', None)  # on Linux
    return {
        'system': platform.platform(),
        'cpu': models[0] if models else platform.processor(),
        'cores': len(usable(0)) if usable else os.cpu_count(),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'mmengine': mmengine.__version__,
        'mmcv': mmcv.__version__,
    }
