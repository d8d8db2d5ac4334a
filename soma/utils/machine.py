"""Where this runs: processor, versions, and how many processes it is good for."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TypeVar

T = TypeVar('T')


def cores() -> int:
    """How many cores this process may use."""
    usable = getattr(os, 'sched_getaffinity', None)  # on Linux
    return len(usable(0)) if usable else os.cpu_count() or 1


def within_cores(loader: T) -> T:
    """The config of a data loader, with no more workers than there are cores.

    More only wait for each other; of several processes each has so many. Samples of a training are
    seeded by their place, whoever loads them (:mod:`soma.engine.seeding`).
    """
    if not isinstance(loader, dict) or (asked := loader.get('num_workers', 0)) <= cores():
        return loader
    from mmengine.logging import print_log

    print_log(f'{cores()} workers, one a core, load the data, not {asked}', logger='current')
    return {**loader, 'num_workers': cores()}


def machine() -> dict:
    """Describe what measurements depend on: processor, GPU and versions, by name."""
    import mmcv
    import mmengine
    import torch

    names = Path('/proc/cpuinfo')
    lines = names.read_text().splitlines() if names.is_file() else []
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return {
        'system': platform.platform(),
        'cpu': models[0] if models else platform.processor(),
        'cores': cores(),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'mmengine': mmengine.__version__,
        'mmcv': mmcv.__version__,
    }
