"""What a config on one's own images is to train, and how: checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...io.files import InputError
from ...io.public import WEIGHTS, named_weights
from ...utils.config import REPOSITORY

# What the names of a network's base configs start with, and its number of blocks.
ARCHS = {
    'small': ('dinov2-S', 12),
    'base': ('dinov2-B', 12),
    'large': ('dinov2-L', 24),
    'dinov3-S': ('dinov3-S', 12),
    'dinov3-B': ('dinov3-B', 12),
    **{name: (name, 24) for name in ('dinov3-L', 'eva02-L', 'clip-L', 'siglip2-L', 'sam-L')},
}
HEADS = ('semfpn', 'mask2former', 'linear', 'eomt')
CONFIGS = REPOSITORY / 'configs'
PUBLISHED = '{0}/{0}_dinov2-L_mask2former_gta2cbm_512x512.py'  # what a method is taken from


@dataclass(frozen=True)
class Recipe:
    """What to train and how.

    Attributes:
        method: Folder of ``configs``.
        arch: Size of DINOv2, or the name of another network.
        head: What predicts, of a segmentor; ``semfpn`` if None.
        iters: Number of steps.
        base: Pretrained weights, a file or a public name; those of the network if None.
    """

    method: str
    arch: str = 'small'
    head: str | None = None
    iters: int = 4000
    base: str | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: If one cannot be used.
        """
        choices = dict(method=methods(), arch=ARCHS, head=(None, *HEADS))
        for name, known in choices.items():
            if (value := getattr(self, name)) not in known:
                listed = ', '.join(filter(None, known))
                raise InputError(f'{name} must be one of {listed}, got {value!r}')
        if self.iters < 10:
            raise InputError(f'iters must be at least 10, got {self.iters}')
        self.weights()

    def model(self, has_boxes: bool = False) -> Path:
        """The base config of the network.

        Raises:
            InputError: If there is none with this head.
        """
        folder, network = CONFIGS / '_base_/models', ARCHS[self.arch][0]
        head = 'dino-4scale' if has_boxes else self.head or 'semfpn'
        if (path := folder / f'{network}_{head}.py').exists():
            return path
        if has_boxes:
            raise InputError(f'--arch of boxes must be small, base or large, got {self.arch}')
        heads = ' or '.join(h for h in HEADS if (folder / f'{network}_{h}.py').exists())
        raise InputError(f'--head of {self.arch} must be {heads}, got {head}')

    def weights(self) -> str:
        """The pretrained weights as a config names them.

        Raises:
            InputError: If there are none of that name, or those are of another network.
        """
        name = Config.fromfile(self.model()).model.backbone.init_cfg.checkpoint
        if self.arch == 'large':  # there a file that was converted, which gives the same
            name = 'dinov2_vitl14'
        base = self.base or name
        if (file := Path(base).expanduser()).is_file():
            return str(file.resolve())
        try:
            named_weights(base)
        except InputError as error:
            raise InputError(f'no file {base}, and {error}') from error
        if base in WEIGHTS and base not in (name, f'{name}_reg'):
            raise InputError(f'{base} does not fit --arch {self.arch}, as {name} does')
        return base


def methods() -> list[str]:
    """The methods that a config can be written for."""
    return sorted(
        path.name for path in CONFIGS.iterdir() if (CONFIGS / PUBLISHED.format(path.name)).exists()
    )
