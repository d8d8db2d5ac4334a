"""The options of :class:`~.dinov2.DINOv2`, checked before anything is made of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

from timm.models.vision_transformer import VisionTransformer

from ...adapters.base import is_count, parse_adapter
from ...adapters.patterns import as_list, full_matches
from .dinov2_weights import POS_EMBED_INTERP, patch_grid
from .vit_layers import SwiGLU

ARCHS = {
    'small': dict(embed_dim=384, depth=12, num_heads=6),
    'base': dict(embed_dim=768, depth=12, num_heads=12),
    'large': dict(embed_dim=1024, depth=24, num_heads=16),
    'giant': dict(embed_dim=1536, depth=40, num_heads=24, mlp_layer=SwiGLU),
}
_CHOICES = {
    'attn_impl': ('sdpa', 'xformers'),
    'base_dtype': ('float32', 'bfloat16'),
    'pos_embed_interp': POS_EMBED_INTERP,
    'with_cp': (True, False),
    'split_cache': (True, False),
}
_FIXED = {'self', 'img_size', 'patch_size', 'num_classes', 'dynamic_img_size', 'weight_init'}


def check_options(
    arch: str | Mapping,
    sizes: tuple[int | tuple[int, int], int, int],
    outputs: tuple[Sequence[int] | None, Sequence[float], int],
    adapter: Mapping | None,
    init_cfg: Mapping | None,
    **choices: object,
) -> tuple[dict, Sequence[int], dict | None]:
    """Check all options of :class:`~.dinov2.DINOv2`, whose names they have.

    Args:
        arch: The architecture.
        sizes: ``img_size``, ``patch_size`` and ``registers``.
        outputs: ``out_indices``, ``pyramid`` and ``frozen_blocks``.
        adapter: The adapter config.
        init_cfg: The file of pretrained weights.
        **choices: The options that are one of a few values.

    Returns:
        The options of timm's vision transformer, ``out_indices`` and ``adapter``, with the defaults
        that depend on other options.

    Raises:
        ValueError: If an option is unknown or out of range.
    """
    options = _vit_options(arch)
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            raise ValueError(f'{name} must be one of {_CHOICES[name]}, got {value!r}')
    *grid, registers = sizes
    patch_grid(*grid)
    out_indices = _check_outputs(options['depth'], *outputs)
    if not is_count(registers, 0):
        raise ValueError(f'registers must be at least 0, and whole, got {registers!r}')
    if init_cfg is not None:
        _check_pretrained(init_cfg)
    if adapter is not None:
        frozen_blocks = outputs[-1]
        if not isinstance(adapter, Mapping):
            raise ValueError(f"adapter needs a dict(type='SoMA', ...), got {adapter!r}")
        adapter = {'start_block': frozen_blocks, **adapter}
        if (start := parse_adapter(adapter).start_block) < frozen_blocks:
            raise ValueError(
                f'the adapter starts at block {start}, but frozen_blocks={frozen_blocks}'
            )
    return options, out_indices, adapter


def check_frozen(
    patterns: str | Sequence[str], names: Sequence[str], adapter: Mapping | None
) -> set[str]:
    """The names that ``frozen_parameters`` mean.

    Args:
        patterns: The option.
        names: Of all parameters.
        adapter: The adapter config.

    Raises:
        ValueError: If a pattern is none or matches nothing, or there is an adapter.
    """
    try:
        patterns = as_list('frozen_parameters', patterns)
        if patterns and adapter is not None:
            raise ValueError('an adapter freezes all else: leave frozen_parameters out')
        frozen: set[str] = set()
        for pattern in patterns:
            matched = full_matches('frozen_parameters', pattern, names)
            if not matched:
                raise ValueError(f'frozen_parameters {pattern!r} matches no parameter')
            frozen.update(matched)
    except ValueError as error:
        raise ValueError(f'DINOv2: {error}') from error
    return frozen


def _vit_options(arch: str | Mapping) -> dict:
    """Options of timm's vision transformer for a name in :data:`ARCHS`, or for options."""
    if not isinstance(arch, Mapping):
        if not isinstance(arch, str) or arch not in ARCHS:
            raise ValueError(f'unknown arch {arch!r}, choose one of {sorted(ARCHS)}, or a dict')
        arch = ARCHS[arch]
    known = inspect.signature(VisionTransformer.__init__).parameters.keys() - _FIXED
    if unknown := sorted(arch.keys() - known, key=str):
        raise ValueError(f'unknown options {unknown} of arch')
    options = {'init_values': 1e-5, **arch}
    for name in ('embed_dim', 'depth', 'num_heads'):
        if not is_count(options.get(name)):
            raise ValueError(f'arch: {name} must be at least 1, and whole, got {arch.get(name)!r}')
    if options['embed_dim'] % options['num_heads']:
        raise ValueError(
            f'arch: embed_dim {options["embed_dim"]} must be a multiple of num_heads '
            f'{options["num_heads"]}'
        )
    return options


def _check_outputs(
    depth: int, out_indices: Sequence[int] | None, pyramid: Sequence[float], frozen_blocks: int
) -> Sequence[int]:
    """Check what depends on the number of blocks; the ``out_indices``."""
    if out_indices is None and depth < 6:
        raise ValueError(f'with a depth of {depth}, name the out_indices')
    if out_indices is None:
        out_indices = [depth // 3 - 1, depth // 2 - 1, depth * 2 // 3 - 1, depth - 1]
    listed = isinstance(out_indices, Sequence) and all(is_count(i, 0) for i in out_indices)
    ascending = listed and out_indices and sorted(set(out_indices)) == list(out_indices)
    if not ascending or out_indices[-1] >= depth:
        raise ValueError(f'out_indices must ascend within 0 to {depth - 1}, got {out_indices!r}')
    if not isinstance(pyramid, Sequence) or len(pyramid) != len(out_indices):
        count = len(pyramid) if isinstance(pyramid, Sequence) else pyramid
        raise ValueError(f'{count} pyramid factors for {len(out_indices)} out_indices')
    if wrong := [f for f in pyramid if not (isinstance(f, int | float) and 0 < f < 2**10)]:
        raise ValueError(f'pyramid factors must be above 0, got {wrong[0]!r}')
    if not is_count(frozen_blocks, 0) or frozen_blocks > depth:
        raise ValueError(f'frozen_blocks must be 0 to {depth}, got {frozen_blocks!r}')
    return out_indices


def _check_pretrained(init_cfg: object) -> None:
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
