"""The blocks of a network: their names and numbers, their width, and what its tokens are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from torch import nn

# What stands before the patches among the tokens of a vision transformer.
PREFIX_TOKENS = ('cls_token', 'dist_token', 'register_tokens', 'reg_token')
# The first layers of MLPs that may be packed, and the last ones.
_PACKED = {'fc1': 'fc2', 'w12': 'w3'}
# How networks call their blocks; where there are two numbers, the first is that of a stage.
_STACKS = (
    r'(?:stages|layers)\.\d+\.(?:blocks|layers)\.\d+',  # Swin, SegFormer, ConvNeXt
    r'layers\.\d+\.1\.\d+',  # mmseg's MixVisionTransformer
    r'features\.\d+\.\d+',  # torchvision's Swin and ConvNeXt
    r'layer\d+\.\d+',  # ResNet
    r'(?:blocks|layers|layer|resblocks)\.\d+',  # ViT, DINOv2, CLIP
    r'encoder_layer_\d+',  # torchvision's ViT
)
_BLOCK = re.compile(rf'(?:^|\.)({"|".join(_STACKS)})(?=\.|$)')


def block_name(name: str) -> str | None:
    """The part of a dotted name up to the number of a block, None where there is none."""
    match = _BLOCK.search(name)
    return name[: match.end()] if match else None


def block_index(name: str) -> int | None:
    """The number of a block in a dotted name, in its stage; None where there is none."""
    match = _BLOCK.search(name)
    return int(re.findall(r'\d+', match[1])[-1]) if match else None


def stack_name(name: str) -> str | None:
    """Where the block of a dotted name is: ``blocks``, ``stages.*.blocks``; None without one."""
    match = _BLOCK.search(name)
    if match is None:
        return None
    return name[: match.start(1)] + re.sub(r'\d+', '*', match[1]).removesuffix('.*')


def number_blocks(model: nn.Module) -> dict[str, int]:
    """Number the blocks of a model, as ``start_block`` counts them.

    A block has the number that its name says. Those of a network with stages are counted through,
    from the first block of the first stage on.

    Args:
        model: Any module.

    Returns:
        Numbers by the names of the blocks, in the order of the network.
    """
    numbers, counts = {}, Counter()
    for name, module in model.named_modules():
        if block_name(name) != name:
            continue
        stack = stack_name(name)
        if '*' not in stack or stack.endswith('encoder_layer_*'):
            numbers[name] = block_index(name)
        elif any(True for _ in module.children()):  # else a layer of a stem
            numbers.pop(block_name(name.rpartition('.')[0]), None)  # its stage is no block
            numbers[name] = counts[stack]
            counts[stack] += 1
    return numbers


def number_layers(names: Iterable[str], blocks: Mapping[str, int]) -> dict[str, int]:
    """Give layers the numbers of their blocks; one between blocks has that of the next.

    Args:
        names: Of all modules, in the order of the network.
        blocks: Of :func:`number_blocks`.

    Returns:
        Numbers by name, without what stands before or behind all blocks.
    """
    numbers, following, waiting = {}, False, []
    for name in names:
        number = blocks.get(block_name(name))
        if number is None:
            waiting += [name] if following else []
            continue
        following = True
        numbers.update((between, number) for between in [*waiting, name])
        waiting = []
    return numbers


def stacked_matrices(model: nn.Module, name: str, layer: nn.Linear) -> int:
    """Number of matrices that are stacked in the weight of a linear layer.

    Three in a ``qkv`` and two in a ``kv`` of equal parts, as many as an ``in_proj`` says, and two
    in a packed gated MLP: its first layer has twice the outputs that its last one takes.

    Args:
        model: Where the layer is.
        name: Its dotted name.
        layer: The layer.
    """
    parent, _, leaf = name.rpartition('.')
    if leaf in ('qkv', 'kv'):
        attention, count = model.get_submodule(parent), len(leaf)
        heads = getattr(attention, 'num_heads', None)
        is_equal = getattr(attention, 'num_kv_heads', heads) in (heads, None)
        return count if is_equal and layer.out_features % count == 0 else 1
    if leaf in _PACKED:
        last = getattr(model.get_submodule(parent), _PACKED[leaf], None)
        inputs = getattr(last, 'in_features', None)
        return 2 if inputs is not None and layer.out_features == 2 * inputs else 1
    return getattr(layer, 'groups', 1)


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
