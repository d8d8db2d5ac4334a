"""Adapt vision foundation models to one domain so that they still work on unseen ones.

Importing the package registers its parts in mmengine's root registries, and puts operators made of
PyTorch's own in the place of mmcv's compiled ones where there are none, and of its formula for
deformable attention. Without mmengine only
``soma.adapters`` is there, which needs no OpenMMLab package.
"""

from importlib.util import find_spec

from .utils.version import __version__

if find_spec('mmengine') is not None:
    from .ops import install_attention, install_ops

    install_ops()  # before anything imports mmcv.ops
    install_attention()
    from . import engine, models  # noqa: F401

    if find_spec('mmseg') is not None:  # who detects only may lack it
        from . import datasets, evaluation, inference  # noqa: F401
        from .models import segmentors  # noqa: F401

    if find_spec('mmdet') is not None:
        from .models import detectors, necks  # noqa: F401

        if find_spec('mmseg') is not None:
            from .models import heads  # noqa: F401

__all__ = ['__version__']
