"""Rein: learnable tokens that refine the features between frozen blocks (arXiv 2312.04265)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..base import Adapter, AdapterConfig, Recognised, is_count, register_adapter
from ..blocks import block_width, count_prefix_tokens, patch_size
from ..targets import find_layers


class Rein(Adapter, nn.Module):
    """Refines the features after each of some frozen blocks of one width (section 3).

    Block i has m learnable tokens ``T_i (m, c)``. Features ``f (n, c)`` become

        ``f + scale * (W_f (S' (W_T T_i' + b_T) + f) + b_f)``, ``S = softmax(f T_i^T / sqrt(c))``,

    where ``S'`` and ``T_i'`` lack the first token, so that a feature need not attend to any. The
    two linear maps are shared by all blocks. The parameters have the names of the public files.

    Args:
        width: Number of channels c.
        blocks: Names of the blocks, in the order of the network.
        num_tokens: Number of tokens of a block.
        rank: The tokens of a block are a product ``A_i B_i`` of this rank; any matrix if None.
        query_dims: Width of the queries.
        link: Whether :meth:`queries` makes queries of the tokens.
        scale_init: Where ``scale`` starts.
        zero_init: Whether ``W_f`` and ``b_f`` start at zero, and so does the change.
        patch_size: Side of a patch in pixels; it sets how far from zero the tokens start.

    Raises:
        ValueError: If an option is out of range.
    """

    method = 'Rein'
    NO_DECAY = ('learnable_tokens', 'learnable_tokens_a', 'learnable_tokens_b', 'scale')

    def __init__(
        self,
        width: int,
        blocks: Sequence[str],
        num_tokens: int = 100,
        rank: int | None = 16,
        query_dims: int = 256,
        link: bool = False,
        scale_init: float = 0.001,
        zero_init: bool = False,
        patch_size: int = 16,
    ) -> None:
        super().__init__()
        check_options(num_tokens, rank, query_dims)
        self.width, self.blocks, self.link = width, tuple(blocks), link
        self.num_tokens, self.rank, self.query_dims = num_tokens, rank, query_dims
        self.scale_init, self.zero_init, self.patch_size = scale_init, zero_init, patch_size
        if rank is None:
            self.learnable_tokens = nn.Parameter(torch.empty(len(blocks), num_tokens, width))
        else:
            self.learnable_tokens_a = nn.Parameter(torch.empty(len(blocks), num_tokens, rank))
            self.learnable_tokens_b = nn.Parameter(torch.empty(len(blocks), rank, width))
        self.scale = nn.Parameter(torch.empty(()))
        self.mlp_token2feat = nn.Linear(width, width)
        self.mlp_delta_f = nn.Linear(width, width)
        if link:
            self.transform = nn.Linear(width, query_dims)
            self.merge = nn.Linear(3 * query_dims, query_dims)
        self.TENSORS = tuple(self.state_dict())
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        product = math.sqrt(self.width * (self.rank or self.width))
        bound = math.sqrt(6 / (3 * self.patch_size**2 + product))
        for name, parameter in self.named_parameters(recurse=False):
            if name != 'scale':
                nn.init.uniform_(parameter, -bound, bound)
        nn.init.constant_(self.scale, self.scale_init)
        for layer in self.children():
            layer.reset_parameters()
        if self.zero_init:
            nn.init.zeros_(self.mlp_delta_f.weight)
            nn.init.zeros_(self.mlp_delta_f.bias)

    def tokens(self, block: int | slice) -> Tensor:
        """Tokens of a block, shape ``(m, c)``; of several, ``(blocks, m, c)``."""
        if self.rank is None:
            return self.learnable_tokens[block]
        return self.learnable_tokens_a[block] @ self.learnable_tokens_b[block]

    def forward(self, x: Tensor, block: int) -> Tensor:
        """Compute the change of the features after a block.

        Args:
            x: The features, shape ``(N, n, c)``.
            block: Index of the block among :attr:`blocks`.

        Returns:
            What is added to them, shape ``(N, n, c)``.
        """
        tokens = self.tokens(block)
        similarity = (x @ tokens.T * self.width**-0.5).softmax(-1)
        attended = similarity[..., 1:] @ self.mlp_token2feat(tokens[1:])
        return self.scale * self.mlp_delta_f(attended + x)

    def queries(self) -> Tensor:
        """Queries ``(m, query_dims)`` of the tokens: maximum and mean over blocks, and last."""
        queries = self.transform(self.tokens(slice(None)))  # (blocks, m, query_dims)
        parts = [queries.max(0).values, queries.mean(0), queries[-1]]
        # The public files have the three of a channel side by side.
        return self.merge(torch.stack(parts, dim=-1).flatten(1))

    def refine(self, block: int, skip: int, module: nn.Module, args: tuple, out: Tensor) -> Tensor:
        """Refine the output of a block: a forward hook, but for the first two arguments.

        Args:
            block: Index of the block among :attr:`blocks`.
            skip: Number of first tokens that are left alone.
            module: The block.
            args: Its input.
            out: Its output: tokens ``(N, n, c)`` or maps ``(N, c, H, W)``.

        Returns:
            The features in the shape of ``out``.

        Raises:
            ValueError: If ``out`` is neither, or of another width.
        """
        is_known = isinstance(out, Tensor) and out.ndim in (3, 4)
        if not is_known or out.shape[-1 if out.ndim == 3 else 1] != self.width:
            output = tuple(out.shape) if isinstance(out, Tensor) else f'a {type(out).__name__}'
            raise ValueError(
                f'Rein expects of block {self.blocks[block]!r} tokens (N, n, {self.width}) or maps '
                f'(N, {self.width}, H, W), but its output is {output}: choose other targets'
            )
        if out.ndim == 4:
            change = self(out.flatten(2).transpose(1, 2), block)
            return out + change.transpose(1, 2).unflatten(2, out.shape[2:])
        patches = out[:, skip:]
        return torch.cat([out[:, :skip], patches + self(patches, block)], dim=1)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """All its parameters."""
        return dict(self.named_parameters())

    def settings(self) -> dict:
        """The options that do not follow from the network."""
        names = ('num_tokens', 'rank', 'query_dims', 'link', 'scale_init', 'zero_init')
        return {name: getattr(self, name) for name in names}

    def targets(self, name: str) -> list[str]:
        """Names of its blocks, which stand where ``reins`` stands."""
        parent = re.sub(r'reins(\.width\d+)?$', '', name)
        return [f'{parent}{block}' for block in self.blocks]


class StageReins(nn.ModuleDict):
    """One :class:`Rein` for each width of a network, named ``width<c>``."""

    @property
    def link(self) -> bool:
        """Whether :meth:`queries` makes queries of the tokens."""
        return all(rein.link for rein in self.values())

    def queries(self) -> Tensor:
        """The sum of the queries of all widths, shape ``(m, query_dims)``."""
        return sum(rein.queries() for rein in self.values())


@register_adapter
@dataclass(frozen=True)
class ReinConfig(AdapterConfig):
    """Settings of Rein: tokens that refine the features after each block (arXiv 2312.04265).

    Attributes:
        targets: Regular expression, or several, that fully match the names of the blocks. They
            return tokens ``(N, n, c)`` or maps ``(N, c, H, W)``.
        exclude: As ``targets``: which of these are left alone.
        num_tokens: As for :class:`Rein`, like those that follow.
    """

    method = 'Rein'
    folds = False
    start_only = ('scale_init', 'zero_init')
    adapts = 'modules with parameters'

    targets: str | Sequence[str] = r'blocks\.\d+'
    exclude: str | Sequence[str] = ()
    num_tokens: int = 100
    rank: int | None = 16
    query_dims: int = 256
    link: bool = False
    scale_init: float = 0.001
    zero_init: bool = False

    def __post_init__(self) -> None:
        """Check each value, as in the parent class."""
        super().__post_init__()
        check_options(self.num_tokens, self.rank, self.query_dims)

    def layer_class(self, layer: nn.Module) -> type[Rein] | None:
        """Rein for any module with parameters."""
        return Rein if any(True for _ in layer.parameters()) else None

    def make(self, model: nn.Module, split: bool) -> dict[str, nn.Module]:
        """Attach the tokens to the blocks."""
        where = ('start_block', 'targets', 'exclude')
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
        """Rein behind all blocks of a vision transformer, as in its public files."""
        reins = 'backbone.reins.'
        full = state.get(f'{reins}learnable_tokens')
        tokens = state.get(f'{reins}learnable_tokens_a', full)
        if tokens is None or tokens.ndim != 3:
            return None
        merge = state.get(f'{reins}merge.weight')
        settings = {'num_tokens': tokens.shape[1], 'link': merge is not None}
        settings['rank'] = None if full is not None else tokens.shape[2]
        settings |= {} if merge is None else {'query_dims': len(merge)}
        return Recognised({f'backbone.blocks.{i}': 1 for i in range(len(tokens))}, settings)


def check_options(num_tokens: int, rank: int | None, query_dims: int) -> None:
    """Raise a ``ValueError`` if a size is out of range."""
    for name, value, least in (('num_tokens', num_tokens, 2), ('query_dims', query_dims, 1)):
        if not is_count(value, least):
            raise ValueError(f'{name} must be at least {least}, got {value!r}')
    if rank is not None and not is_count(rank):
        raise ValueError(f'rank must be at least 1, or None for full tokens, got {rank!r}')


def attach_rein(model: nn.Module, blocks: Mapping[str, nn.Module], **options: object) -> nn.Module:
    """Refine what blocks of a model return; class and register tokens are left alone.

    The tokens are the submodule ``reins`` of the model; forward hooks apply them, so that the names
    of all else stay. With ``link`` the model returns ``(output, queries)`` in place of ``output``.

    Args:
        model: Changed in place.
        blocks: Blocks of it by name, in the order of the network.
        **options: As for :class:`Rein`.

    Returns:
        The submodule ``reins``: a :class:`Rein`, or :class:`StageReins` if the widths differ.

    Raises:
        ValueError: If an option is out of range, or the model has such a submodule already.
    """
    if hasattr(model, 'reins'):
        raise ValueError(f'{type(model).__name__} has a Rein already')
    names: dict[int, list[str]] = {}
    for name, block in blocks.items():
        names.setdefault(block_width(name, block), []).append(name)
    options = {'patch_size': patch_size(model), **options}
    parts = {width: Rein(width, of_width, **options) for width, of_width in names.items()}
    skip = count_prefix_tokens(model)
    for rein in parts.values():
        for index, name in enumerate(rein.blocks):
            # Bound to the module, not in a closure: a deep copy then calls its own.
            blocks[name].register_forward_hook(partial(rein.refine, index, skip))
    if len(parts) > 1:
        parts = {0: StageReins({f'width{width}': rein for width, rein in parts.items()})}
    (model.reins,) = parts.values()
    reins = model.reins
    if reins.link:
        model.register_forward_hook(partial(_add_queries, reins))
    return reins


def _add_queries(reins: nn.Module, model: nn.Module, args: tuple, output) -> tuple:
    """Return the output of a model with the queries: a forward hook, but for the first argument."""
    return output, reins.queries()
