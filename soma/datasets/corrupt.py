"""The corruptions of Cityscapes-C, as a step of a pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from ..io.files import InputError

_NOISE = ('gaussian_noise', 'shot_noise', 'impulse_noise')
_BLUR = ('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur')
_WEATHER = ('snow', 'frost', 'fog', 'brightness')
_DIGITAL = ('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression')
_EXTRA = ('speckle_noise', 'gaussian_blur', 'spatter', 'saturate')
_BENCHMARK = (*_NOISE, *_BLUR, *_WEATHER, *_DIGITAL)
CORRUPTIONS = (*_BENCHMARK, *_EXTRA)
SEVERITIES = (1, 2, 3, 4, 5)
_NOT_IN_CITYSCAPES_C = ('zoom_blur', 'elastic_transform', 'pixelate')
GROUPS: dict[str, tuple[str, ...]] = {
    'all': CORRUPTIONS,
    'benchmark': _BENCHMARK,  # arXiv 1907.07484
    # arXiv 1908.05005
    'cityscapes-c': tuple(name for name in CORRUPTIONS if name not in _NOT_IN_CITYSCAPES_C),
    'noise': _NOISE,
    'blur': _BLUR,
    'weather': _WEATHER,
    'digital': _DIGITAL,
    'extra': _EXTRA,
}


@TRANSFORMS.register_module()
class Corrupt(BaseTransform):
    """Corrupts an image as ImageNet-C and Cityscapes-C do (arXiv 1903.12261, 1908.05005).

    It belongs directly after the step that loads the image, since the corruptions are defined on
    images of full size. What is random depends on the name of the image's file, the corruption
    and the severity alone: neither on other images nor on the number of workers.

    Args:
        name: One of ``CORRUPTIONS``.
        severity: 1 to 5.

    Raises:
        InputError: If there is no such corruption or severity, or the package
            ``imagecorruptions`` is not installed.
    """

    def __init__(self, name: str, severity: int = 1) -> None:
        if name not in CORRUPTIONS:
            raise InputError(
                f'there is no corruption {name!r}: choose from {", ".join(CORRUPTIONS)}'
            )
        if type(severity) is not int or severity not in SEVERITIES:
            raise InputError(f'the severity of a corruption is 1 to 5, got {severity!r}')
        self.name, self.severity = name, severity
        self._corrupt, self._takes_seed = _load(name)

    def transform(self, results: dict) -> dict:
        """Corrupt an image.

        Args:
            results: With ``img``, uint8, ``(h, w, 3)``, blue first, and ``img_path``.

        Returns:
            The same dict, with another ``img`` of this kind.

        Raises:
            InputError: If ``img`` is of another kind, or has a side of less than 32 pixels.
        """
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(
                'Corrupt needs a colour image of 0 to 255 as it is loaded, before any '
                f'normalisation, got {image.dtype} of shape {image.shape}'
            )
        if min(image.shape[:2]) < 32:
            height, width = image.shape[:2]
            raise InputError(f'Corrupt needs at least 32 x 32 pixels, got {width} x {height}')
        seed = crc32(f'{Path(results["img_path"]).name} {self.name} {self.severity}'.encode())
        options = {'seed': seed} if self._takes_seed else {}
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            corrupted = self._corrupt(
                image[..., ::-1], corruption_name=self.name, severity=self.severity, **options
            )
        finally:
            np.random.set_state(state)
        results['img'] = np.ascontiguousarray(corrupted[..., ::-1])
        return results

    def __repr__(self) -> str:
        return f'Corrupt(name={self.name!r}, severity={self.severity})'


def _load(name: str) -> tuple[Callable[..., np.ndarray], bool]:
    """The package's function, and whether this corruption draws by a seed of its own."""
    try:
        from imagecorruptions import corrupt, corruption_dict
    except ImportError as error:
        raise InputError(
            f'corruptions need the package imagecorruptions ({error}): pip install -e '
            "'.[corruptions]' brings it"
        ) from error
    if 'kwargs' not in inspect.signature(corrupt).parameters:
        raise InputError(
            'the installed imagecorruptions is an old release, some of whose corruptions fail with '
            'NumPy 2 or cannot be repeated: pip uninstall imagecorruptions, then pip install '
            '--force-reinstall imagecorruptions-imaug'
        )
    return corrupt, 'seed' in inspect.signature(corruption_dict[name]).parameters
