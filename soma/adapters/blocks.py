"""The blocks of a network: their names, their width, and what its tokens are."""

from __future__ import annotations

import re

from torch import nn

# What stands before the patches among the tokens of a vision transformer.
PREFIX_TOKENS = ('cls_token', 'dist_token', 'register_tokens', 'reg_token')
_BLOCK = re.compile(r'(?:^|\.)blocks\.(\d+)(?=\.|$)')


def block_name(name: str) -> str | None:
    """The part of a dotted name up to the ``i`` of ``blocks.<i>``, None where there is none."""
    match = _BLOCK.search(name)
    return name[: match.end()] if match else None


def block_index(name: str) -> int | None:
    """The ``i`` of ``blocks.<i>`` in a dotted name, None where there is none."""
    match = _BLOCK.search(name)
    return int(match[1]) if match else None


def block_width(name: str, block: nn.Module) -> int:
    """Number of channels that a block returns: its last parameter has as many rows.

    Args:
        name: Of the block, for the message.
        block: Any module.

    Raises:
        ValueError: If it has no parameters.
    """
    parameters = list(block.parameters())
    if not parameters:
        raise ValueError(f'{name!r} has no parameters: it is no block whose output can be refined')
    return parameters[-1].shape[0]


def count_prefix_tokens(model: nn.Module) -> int:
    """Number of class and register tokens of a vision transformer."""
    return sum(
        parameter.shape[1]
        for name, parameter in model.named_parameters()
        if name.rpartition('.')[2] in PREFIX_TOKENS
    )


def patch_size(model: nn.Module) -> int:
    """Side of the first convolution's kernel, which in a transformer embeds the patches."""
    kernels = (m.kernel_size[0] for m in model.modules() if isinstance(m, nn.Conv2d))
    return next(kernels, 16)
