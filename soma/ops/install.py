"""Put the operators of this package where mmcv looks for its own."""

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


def install_attention() -> None:
    """Let mmcv compute deformable attention with ours where its compiled operator does not go.

    On CPUs, and in bfloat16, mmcv has a formula that keeps every sample. It stays to be had as
    ``ms_deform_attn.__wrapped__``. ``SomaRunner`` and ``soma.models.build.build_model`` (scripts,
    ``Inferencer``) call this; a script of mmdet that only imports ``soma`` keeps the formula.
    """
    if importlib.util.find_spec('mmcv') is None:
        return
    mmcv_module = importlib.import_module('mmcv.ops.multi_scale_deform_attn')
    attention = importlib.import_module('soma.ops.ms_deform_attn').ms_deform_attn
    if mmcv_module.multi_scale_deformable_attn_pytorch is not attention:
        attention.__wrapped__ = mmcv_module.multi_scale_deformable_attn_pytorch
        mmcv_module.multi_scale_deformable_attn_pytorch = attention
