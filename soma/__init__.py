"""Adapt vision foundation models to one domain so that they still work on unseen ones.

Importing the package registers its parts in mmengine's root registries, as soon as mmengine itself
is imported (:mod:`soma.registration`). ``soma.adapters`` needs no OpenMMLab package.
"""

from .registration import register_with_mmengine
from .utils.version import __version__

register_with_mmengine()

__all__ = ['__version__']
