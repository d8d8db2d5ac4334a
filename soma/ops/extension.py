"""The module that stands in for ``mmcv._ext``.

mmcv imports ``mmcv._ext``, asks ``hasattr`` for each operator and calls it with the arguments of a
C++ function. The operators that segmentors and detectors need come from the files beside this one,
imported on first use. Every other name is a function that raises.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

_OPERATORS = {
    'soma.ops.nms': ('nms', 'softnms'),
    'soma.ops.roi_align': ('roi_align_forward', 'roi_align_backward'),
    'soma.ops.focal_loss': ('sigmoid_focal_loss_forward', 'sigmoid_focal_loss_backward'),
    'soma.ops.deform_conv': (
        'deform_conv_forward',
        'deform_conv_backward_input',
        'deform_conv_backward_parameters',
        'modulated_deform_conv_forward',
        'modulated_deform_conv_backward',
    ),
    'soma.ops.ms_deform_attn': ('ms_deform_attn_forward', 'ms_deform_attn_backward'),
}
_MODULE_OF = {name: module for module, names in _OPERATORS.items() for name in names}


class MissingOperatorError(NotImplementedError):
    """An operator was called that only mmcv's compiled module has."""


def get_compiler_version() -> str:
    """Return what mmcv lists as its C++ compiler among the facts about the environment."""
    return 'not compiled'


def get_compiling_cuda_version() -> str:
    """Return what mmcv lists as its CUDA compiler among the facts about the environment."""
    return 'not compiled'


def _missing_operator(name: str) -> Callable:
    def missing(*args, **kwargs):
        raise MissingOperatorError(
            f"operator '{name}' needs mmcv's compiled module, and this mmcv has none. To compile "
            'it (with a C++ compiler; docs/get_started.md): pip install ninja wheel packaging '
            'psutil "setuptools>=80,<82", then pip install --no-build-isolation --no-cache-dir '
            '--no-deps --force-reinstall onedl-mmcv'
        )

    missing.__name__ = missing.__qualname__ = name
    return missing


def __getattr__(name: str) -> Callable:
    # Python and its tools probe modules for underscored names, and no operator has one.
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name in _MODULE_OF:
        operator = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        operator = _missing_operator(name)
    globals()[name] = operator
    return operator
