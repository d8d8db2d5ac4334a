"""Put the stand-in where mmcv looks for its compiled module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from importlib.machinery import PathFinder

COMPILED_MODULE = 'mmcv._ext'


def install_ops() -> None:
    """Register ``soma.ops.extension`` as ``mmcv._ext`` if mmcv has no compiled module that loads.

    A compiled module that loads stays in use, and without mmcv nothing happens. One that does not
    load, mostly because it was built for another torch, is replaced and the reason given in a
    warning. Call this before anything imports ``mmcv.ops``; a second call changes nothing.
    """
    if COMPILED_MODULE in sys.modules:
        return
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None:
        return
    # importlib.util.find_spec would import mmcv to answer the same question.
    if PathFinder.find_spec(COMPILED_MODULE, mmcv.submodule_search_locations) is not None:
        try:
            importlib.import_module('torch')  # the compiled module links against its libraries
            importlib.import_module(COMPILED_MODULE)
            return
        except (ImportError, OSError) as error:
            warnings.warn(
                f"mmcv's compiled operators do not load, those of soma are used instead: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
    extension = importlib.import_module('soma.ops.extension')
    sys.modules[COMPILED_MODULE] = extension
    if 'mmcv' in sys.modules:
        sys.modules['mmcv']._ext = extension
