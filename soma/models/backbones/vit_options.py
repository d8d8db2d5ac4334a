"""The options that all vision transformers have as backbones, checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...adapters.base import is_count, parse_adapter
from ...adapters.patterns import as_list, full_matches

_CHOICES = {
    'base_dtype': ('float32', 'bfloat16'),
    'with_cp': (True, False),
    'split_cache': (True, False),
}


@dataclass
class ViTOptions:
    """Options of :class:`~.vit.TimmVisionTransformer`, whose names and meanings they have.

    ``out_indices`` and the ``start_block`` of the adapter get their defaults by :meth:`check`.
    """

    out_indices: Sequence[int] | None = None
    pyramid: Sequence[float] = (4, 2, 1, 0.5)
    frozen_blocks: int = 0
    adapter: Mapping | None = None
    with_cp: bool = False
    base_dtype: str = 'float32'
    init_cfg: Mapping | None = None
    split_cache: bool = True
    frozen_parameters: str | Sequence[str] = ()

    def check(self, depth: int) -> None:
        """Check all options for a network.

        Args:
            depth: Its number of blocks.

        Raises:
            ValueError: If one is out of range.
        """
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        self._check_outputs(depth)
        if self.init_cfg is not None:
            check_pretrained(self.init_cfg)
        if self.adapter is None:
            return
        if not isinstance(self.adapter, Mapping):
            raise ValueError(f"adapter needs a dict(type='SoMA', ...), got {self.adapter!r}")
        self.adapter = {'start_block': self.frozen_blocks, **self.adapter}
        if (start := parse_adapter(self.adapter).start_block) < self.frozen_blocks:
            raise ValueError(
                f'the adapter starts at block {start}, but frozen_blocks={self.frozen_blocks}'
            )

    def match_frozen(self, names: Sequence[str]) -> set[str]:
        """The names that ``frozen_parameters`` mean.

        Args:
            names: Of all parameters.

        Raises:
            ValueError: If a pattern is none or matches nothing, or there is an adapter.
        """
        patterns = as_list('frozen_parameters', self.frozen_parameters)
        if patterns and self.adapter is not None:
            raise ValueError('an adapter freezes all else: leave frozen_parameters out')
        frozen: set[str] = set()
        for pattern in patterns:
            matched = full_matches('frozen_parameters', pattern, names)
            if not matched:
                raise ValueError(f'frozen_parameters {pattern!r} matches no parameter')
            frozen.update(matched)
        return frozen

    def _check_outputs(self, depth: int) -> None:
        """Check what depends on the number of blocks."""
        out, pyramid = self.out_indices, self.pyramid
        if out is None and depth < 6:
            raise ValueError(f'with a depth of {depth}, name the out_indices')
        if out is None:
            out = [depth // 3 - 1, depth // 2 - 1, depth * 2 // 3 - 1, depth - 1]
        listed = isinstance(out, Sequence) and all(is_count(index, 0) for index in out)
        ascending = listed and out and sorted(set(out)) == list(out)
        if not ascending or out[-1] >= depth:
            raise ValueError(f'out_indices must ascend within 0 to {depth - 1}, got {out!r}')
        if not isinstance(pyramid, Sequence) or len(pyramid) != len(out):
            count = len(pyramid) if isinstance(pyramid, Sequence) else pyramid
            raise ValueError(f'{count} pyramid factors for {len(out)} out_indices')
        if wrong := [f for f in pyramid if not (isinstance(f, int | float) and 0 < f < 2**10)]:
            raise ValueError(f'pyramid factors must be above 0, got {wrong[0]!r}')
        if not is_count(self.frozen_blocks, 0) or self.frozen_blocks > depth:
            raise ValueError(f'frozen_blocks must be 0 to {depth}, got {self.frozen_blocks!r}')
        self.out_indices = out


def check_choice(name: str, value: object, choices: Sequence) -> None:
    """Raise a ``ValueError`` if an option is none of a few values."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {tuple(choices)}, got {value!r}')


def check_pretrained(init_cfg: object) -> None:
    """Check the ``init_cfg`` of a backbone that loads pretrained weights from a file."""
    known = {'type', 'checkpoint', 'prefix'}
    if not isinstance(init_cfg, Mapping) or not {'type', 'checkpoint'} <= init_cfg.keys() <= known:
        raise ValueError(
            f"init_cfg must be dict(type='Pretrained', checkpoint=FILE), perhaps with a prefix, "
            f'got {init_cfg!r}'
        )
    if init_cfg['type'] != 'Pretrained':
        raise ValueError(f"init_cfg must have type='Pretrained', got {init_cfg['type']!r}")
    if wrong := [v for k, v in init_cfg.items() if not isinstance(v, str)]:
        raise ValueError(f'init_cfg must name a file, got {wrong[0]!r}')
