"""Rein: learnable tokens that refine the features between frozen blocks (arXiv 2312.04265)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from ..base import AdapterConfig, Recognised, register_adapter
from ..blocks import block_width, count_prefix_tokens, patch_size
from ..targets import ALL_LINEAR, AUTO, find_layers
from .rein_tokens import Rein, StageReins, check_options

logger = logging.getLogger(__name__)

# Names of the public files, and one of older versions of this package.
_RELEASED = re.compile(r'(backbone\.reins\.(\d+\.)?)learnable_tokens(_a)?')
_LINK = re.compile(r'backbone\.reins\.(\d+\.)?(transform|merge)\.')
_SCALE = re.compile(r'(.*\.)?reins\.(\d+\.)?scale')
_WIDTH = re.compile(r'(?<=\breins)\.width(\d+)\.')


@register_adapter
@dataclass(frozen=True)
class ReinConfig(AdapterConfig):
    """Settings of Rein: tokens that refine the features after each block (arXiv 2312.04265).

    Attributes:
        targets: Regular expression, or several, that fully match the names of the blocks. They
            return tokens ``(N, n, c)``, maps ``(N, c, H, W)`` or windows' ``(N, H, W, c)``.
        exclude: As ``targets``: which of these are left alone.
        num_tokens: As for :class:`Rein`, like those that follow.
    """

    method = 'Rein'
    folds = False
    start_only = ('scale_init', 'zero_init')
    older = {'zero_mlp_delta_f': False, 'use_softmax': True}  # noqa: RUF012
    adapts = 'modules with parameters'

    targets: str | Sequence[str] = r'blocks\.\d+'
    exclude: str | Sequence[str] = ()
    num_tokens: int = 100
    rank: int | None = 16
    query_dims: int = 256
    link: bool = False
    scale_init: float = 0.001
    zero_init: bool = False
    zero_mlp_delta_f: bool = False
    use_softmax: bool = True

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_options(self.num_tokens, self.rank, self.query_dims)
        if self.targets in (AUTO, ALL_LINEAR):
            raise ValueError(f'targets of Rein are blocks, not {self.targets!r}: name them')
        if self.zero_mlp_delta_f and self.scale_init != type(self).scale_init:
            raise ValueError('zero_mlp_delta_f fixes the scale at 1: leave scale_init out')

    def layer_class(self, layer: nn.Module) -> type[Rein] | None:
        """Rein for any module with parameters."""
        return Rein if any(True for _ in layer.parameters()) else None

    def make(self, model: nn.Module, split: bool) -> dict[str, nn.Module]:
        """Attach the tokens to the blocks."""
        where = ('start_block', 'targets', 'exclude', 'modules_to_save')
        options = {name: value for name, value in vars(self).items() if name not in where}
        return {'reins': attach_rein(model, find_layers(model, self), **options)}

    @classmethod
    def tensor_names(cls, names: Iterable[str], targets: Iterable[str]) -> set[str]:
        """Which names are below ``reins``."""
        return {name for name in names if 'reins' in name.split('.')}

    @classmethod
    def check_tensors(cls, state: Mapping[str, Tensor], targets: Iterable[str], settings: Mapping):
        """Check that each block has tokens, as many as the settings say.

        Raises:
            ValueError: If one has not.
        """
        count, blocks = settings.get('num_tokens', cls.num_tokens), len(list(targets))
        pattern = re.compile(r'reins.*\.learnable_tokens(_a)?$')
        sizes = [tuple(value.shape) for name, value in state.items() if pattern.search(name)]
        if any(len(s) != 3 or s[1] != count for s in sizes) or sum(s[0] for s in sizes) != blocks:
            raise ValueError(f'its card says {blocks} x {count} tokens, it has those of {sizes}')

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> Recognised | None:
        """Rein behind all blocks of a network, as in the public files.

        These do not name the blocks of a network with stages, nor ``use_softmax``.
        """
        matches = {name: match for name in state if (match := _RELEASED.fullmatch(name))}
        if not matches or any(state[name].ndim != 3 for name in matches):
            return None
        name = next(iter(matches))
        reins, _, is_low_rank = matches[name].groups()
        merge = state.get(f'{reins}merge.weight')
        settings = {'num_tokens': state[name].shape[1], 'link': merge is not None}
        settings['rank'] = state[name].shape[2] if is_low_rank else None
        settings['zero_mlp_delta_f'] = f'{reins}scale' not in state
        settings |= {} if merge is None else {'query_dims': len(merge)}
        groups = {
            f'{match[1] if match[2] else "backbone."}blocks.{i}': 1
            for name, match in matches.items()
            for i in range(len(state[name]))
        }
        return Recognised(groups, settings)

    @classmethod
    def rename(cls, state: Mapping[str, Tensor], has_card: bool) -> dict[str, Tensor]:
        """Number the stages; without the link, leave out what the release saves for it."""
        widths = {int(match[1]) for name in state if (match := _WIDTH.search(name))}
        stages = {width: stage for stage, width in enumerate(sorted(widths))}
        state = {_WIDTH.sub(lambda m: f'.{stages[int(m[1])]}.', n): v for n, v in state.items()}
        # A number there; fully_shard can only share out a vector.
        state |= {n: v.reshape(1) for n, v in state.items() if not v.ndim and _SCALE.fullmatch(n)}
        head = {name.split('.')[1] for name in state if name.startswith('decode_head.')}
        # A linked head learns no positions of queries (query_embed), but perhaps their features.
        is_linked = 'query_embed' not in head and head & {'querys2feat', 'query_feat'}
        if has_card or not head or is_linked:
            return state
        unused = [name for name in state if _LINK.match(name)]
        if unused:
            logger.warning('not used without a link to the queries: %s', ', '.join(unused))
        return {name: value for name, value in state.items() if name not in unused}


def attach_rein(model: nn.Module, blocks: Mapping[str, nn.Module], **options: object) -> nn.Module:
    """Refine what blocks of a model return; class and register tokens are left alone.

    The tokens are the submodule ``reins`` of the model; forward hooks apply them, so that the names
    of all else stay. With ``link`` the model returns ``(output, queries)`` in place of ``output``.

    Args:
        model: Changed in place.
        blocks: Blocks of it by name, in the order of the network.
        **options: As for :class:`Rein`.

    Returns:
        The submodule ``reins``: a :class:`Rein`, or :class:`StageReins` if the widths differ, as
        they do from stage to stage: the narrowest is the first.

    Raises:
        ValueError: If an option is out of range, or the model has such a submodule already.
    """
    if hasattr(model, 'reins'):
        raise ValueError(f'{type(model).__name__} has a Rein already')
    names: dict[int, list[str]] = {}
    for name, block in blocks.items():
        names.setdefault(block_width(name, block), []).append(name)
    options = {'patch_size': patch_size(model), **options}
    parts = {width: Rein(width, names[width], **options) for width in sorted(names)}
    skip = count_prefix_tokens(model)
    for rein in parts.values():
        for index, name in enumerate(rein.blocks):
            # Bound to the module, not in a closure: a deep copy then calls its own.
            blocks[name].register_forward_hook(partial(rein.refine, index, skip))
    if len(parts) > 1:
        parts = {0: StageReins({f'{i}': rein for i, rein in enumerate(parts.values())})}
    (model.reins,) = parts.values()
    reins = model.reins
    if reins.link:
        model.register_forward_hook(partial(_add_queries, reins))
    return reins


def _add_queries(reins: nn.Module, model: nn.Module, args: tuple, output) -> tuple:
    """Return the output of a model with the queries: a forward hook, but for the first argument."""
    return output, reins.queries()
