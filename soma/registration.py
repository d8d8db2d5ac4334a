"""When the parts of this package become known to mmengine's registries.

OpenMMLab's packages take five seconds to import, and neither adapters nor files nor the command
line need them. So ``import soma`` registers at once only where mmengine is imported already; else
it waits for that. The rooms that cannot do without mmengine call :func:`register` first of all.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from .ops.install import install_ops
from .utils.noise import without_prints

_PACKAGES = ('mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmpretrain')
# What registers something, and the packages that it needs.
_ROOMS = {
    'engine': (),
    'models': (),
    'datasets': ('mmseg',),
    'evaluation': ('mmseg',),
    'inference': ('mmseg',),
    'models.backbones.mit': ('mmseg',),
    'models.segmentors': ('mmseg',),
    'models.detectors': ('mmdet',),
    'models.necks': ('mmdet',),
    'models.heads': ('mmdet', 'mmseg'),
}
_registered = False


def register() -> None:
    """Register everything whose packages are installed; a second call changes nothing.

    Operators made of PyTorch's own take the place of mmcv's compiled ones where none load.
    """
    global _registered
    if _registered or find_spec('mmengine') is None:
        return
    _registered = True
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Watch)]
    try:
        with without_prints():
            install_ops()  # before anything imports mmcv.ops
            for package in filter(find_spec, ('mmseg', 'mmdet')):
                # What they print is dropped here; a room that called this would import them later.
                if find_spec(name := f'{package}.datasets'):
                    import_module(name)
            for room, packages in _ROOMS.items():
                if all(map(find_spec, packages)):
                    import_module(f'{__package__}.{room}')
    except BaseException:  # a package that does not import; the next call raises again
        _registered = False
        raise


def register_with_mmengine() -> None:
    """Register now if mmengine is imported, else at the end of the import that brings it."""
    loaded = [sys.modules[name] for name in _PACKAGES if name in sys.modules]
    half = any(getattr(module.__spec__, '_initializing', False) for module in loaded if module)
    if sys.modules.get('mmengine') and not half:
        register()
    else:
        sys.meta_path.insert(0, _Watch())


class _Watch:
    """A finder that finds nothing itself, and registers when OpenMMLab's packages are there.

    They import each other. Only after the outermost of them has been executed is none half there.
    """

    def __init__(self) -> None:
        self.depth = 0

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the packages as Python would, and watch its execution."""
        if name not in _PACKAGES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._execute, spec.loader.exec_module)
        return spec

    def _execute(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.depth += 1
        try:
            execute(module)
        finally:
            self.depth -= 1
        if not self.depth:
            try:
                register()
            except Exception as error:  # of a package that soma needs, not of the one imported
                warnings.warn(
                    f'soma is not registered: {type(error).__name__}: {error}',
                    RuntimeWarning,
                    stacklevel=2,
                )
