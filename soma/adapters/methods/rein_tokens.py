"""The learnable tokens of Rein (arXiv 2312.04265)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..base import Adapter, is_count


class Rein(Adapter, nn.Module):
    """Refines the features after each of some frozen blocks of one width (section 3).

    Block i has m learnable tokens ``T_i (m, c)``. Features ``f (n, c)`` become

        ``f + scale * (W_f (S' (W_T T_i' + b_T) + f) + b_f)``, ``S = softmax(f T_i^T / sqrt(c))``,

    where ``S'`` and ``T_i'`` lack the first token, so that a feature need not attend to any. The
    two linear maps are shared by all blocks. Names and options are those of the public release.

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
        zero_mlp_delta_f: As ``zero_init``, with a scale of 1 that neither trains nor is saved.
        use_softmax: False computes ``S = f T_i^T``, not divided either, as the release does.

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
        zero_mlp_delta_f: bool = False,
        use_softmax: bool = True,
    ) -> None:
        super().__init__()
        check_options(num_tokens, rank, query_dims)
        self.zero_mlp_delta_f, self.use_softmax = zero_mlp_delta_f, use_softmax
        self.width, self.blocks, self.link = width, tuple(blocks), link
        self.num_tokens, self.rank, self.query_dims = num_tokens, rank, query_dims
        self.scale_init, self.zero_init, self.patch_size = scale_init, zero_init, patch_size
        if rank is None:
            self.learnable_tokens = nn.Parameter(torch.empty(len(blocks), num_tokens, width))
        else:
            self.learnable_tokens_a = nn.Parameter(torch.empty(len(blocks), num_tokens, rank))
            self.learnable_tokens_b = nn.Parameter(torch.empty(len(blocks), rank, width))
        self.scale = 1.0 if zero_mlp_delta_f else nn.Parameter(torch.empty(1))
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
        if not self.zero_mlp_delta_f:
            nn.init.constant_(self.scale, self.scale_init)
        for layer in self.children():
            layer.reset_parameters()
        if self.zero_init or self.zero_mlp_delta_f:
            nn.init.zeros_(self.mlp_delta_f.weight)
            nn.init.zeros_(self.mlp_delta_f.bias)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        """Load; the scale is a number in the public files."""
        if (scale := state_dict.get(f'{prefix}scale')) is not None and not scale.ndim:
            state_dict[f'{prefix}scale'] = scale.view(1)
        super()._load_from_state_dict(state_dict, prefix, *args)

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
        similarity = x @ tokens.T
        if self.use_softmax:
            similarity = (similarity * self.width**-0.5).softmax(-1)
        attended = similarity[..., 1:] @ self.mlp_token2feat(tokens[1:])
        change = self.mlp_delta_f(attended + x)
        if self.zero_mlp_delta_f:
            return change
        return self.scale.view(()) * change  # in the precision of the change, as the release does

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
            skip: Number of first tokens that are left alone, beside a block's ``num_queries``.
            module: The block.
            args: Its input.
            out: Its output: tokens ``(N, n, c)`` or maps ``(N, c, H, W)`` or ``(N, H, W, c)``.

        Returns:
            The features in the shape of ``out``.

        Raises:
            ValueError: If ``out`` is neither, or of another width.
        """
        is_known = isinstance(out, Tensor) and out.ndim in (3, 4)
        if not is_known or self.width not in (out.shape[-1], out.shape[1] if out.ndim == 4 else 0):
            output = tuple(out.shape) if isinstance(out, Tensor) else f'a {type(out).__name__}'
            raise ValueError(
                f'Rein expects of block {self.blocks[block]!r} tokens (N, n, {self.width}) or maps '
                f'(N, {self.width}, H, W) or (N, H, W, {self.width}), but its output is {output}: '
                'choose other targets'
            )
        if out.ndim == 4 and is_channels_last(module, out, self.width):
            return out + self(out.flatten(1, 2), block).view(out.shape)
        if out.ndim == 4:
            change = self(out.flatten(2).transpose(1, 2), block)
            return out + change.transpose(1, 2).unflatten(2, out.shape[2:])
        skip += getattr(module, 'num_queries', 0)
        patches = out[:, skip:]
        return torch.cat([out[:, :skip], patches + self(patches, block)], dim=1)

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """All its parameters."""
        return dict(self.named_parameters())

    def settings(self) -> dict:
        """The options that do not follow from the network."""
        names = ('num_tokens', 'rank', 'query_dims', 'link', 'scale_init', 'zero_init')
        names += ('zero_mlp_delta_f', 'use_softmax')
        return {name: getattr(self, name) for name in names}

    def targets(self, name: str) -> list[str]:
        """Names of its blocks, which stand where ``reins`` stands."""
        parent = re.sub(r'reins(\.\d+)?$', '', name)
        return [f'{parent}{block}' for block in self.blocks]


class StageReins(nn.ModuleDict):
    """One :class:`Rein` for each stage of a network.

    The first stage that is adapted is number 0. Where all are, these are the release's numbers.
    """

    @property
    def link(self) -> bool:
        """Whether :meth:`queries` makes queries of the tokens."""
        return all(rein.link for rein in self.values())

    def queries(self) -> Tensor:
        """The sum of the queries of all stages, shape ``(m, query_dims)``."""
        return sum(rein.queries() for rein in self.values())


def check_options(num_tokens: int, rank: int | None, query_dims: int) -> None:
    """Raise a ``ValueError`` if a size is out of range."""
    for name, value, least in (('num_tokens', num_tokens, 2), ('query_dims', query_dims, 1)):
        if not is_count(value, least):
            raise ValueError(f'{name} must be at least {least}, got {value!r}')
    if rank is not None and not is_count(rank):
        raise ValueError(f'rank must be at least 1, or None for full tokens, got {rank!r}')


def is_channels_last(block: nn.Module, out: Tensor, width: int) -> bool:
    """Whether maps of a block are ``(N, H, W, c)``, as those of windowed attention.

    Where the size leaves it open, they are if there is no convolution in the block.
    """
    if out.shape[1] == out.shape[-1] == width:
        return not any(isinstance(module, nn.Conv2d) for module in block.modules())
    return out.shape[-1] == width
