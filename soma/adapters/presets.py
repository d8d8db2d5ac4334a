"""The layers that are adapted where a config names no targets, by the family of the network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Preset(NamedTuple):
    """What is adapted in a family of networks, as regular expressions.

    Attributes:
        family: Who has it.
        block: Of the name of a block.
        layers: Of the names of linear layers, or convolutions, in a block.
        norms: Of the names of normalisations in a block, whose biases BitFit trains too.
    """

    family: str
    block: str
    layers: str
    norms: str


_MLP = r'mlp\.fc[12]'
_QKVO = r'attention\.[qkvo]_proj'

# The names are those that timm 1.0, torchvision 0.26 and transformers 5 (and 4, where it says so)
# give to modules. The row with the most layers in a network is its family.
PRESETS = (
    Preset(
        'timm: Swin, Swin V2, ConvNeXt, MViT, PVT, MaxViT',
        r'(?:layers|stages)\.\d+\.blocks\.\d+',
        rf'(?:attn_(?:block|grid)\.)?(?:attn\.(?:qkv|q|kv|proj)|{_MLP})',
        r'(?:attn_(?:block|grid)\.)?norm[12]?',
    ),
    Preset(
        'transformers: Swin, SegFormer',
        r'(?:layers|stages)\.\d+\.blocks\.\d+',
        rf'{_QKVO}|{_MLP}',
        r'layernorm_(?:before|after)|layer_norm_?[12]',
    ),
    Preset(
        'timm: ViT, DeiT, BEiT, EVA, DINOv3, SigLIP, hybrids; DINOv2 of this package',
        r'blocks\.\d+',
        r'attn\.(?:qkv|[qkv]_proj|proj)|mlp\.(?:fc[12]|fc1_[gx]|w12|w[123])',
        r'norm[12]',
    ),
    Preset('timm, torchvision: ResNet', r'layer\d+\.\d+', r'conv[123]', r'bn[123]'),
    Preset(
        'torchvision: ViT',
        r'layers\.encoder_layer_\d+',
        r'self_attention\.(?:in_proj|out_proj)|mlp\.[03]',
        r'ln_[12]',
    ),
    Preset(
        'torchvision: Swin, Swin V2',
        r'features\.\d+\.\d+',
        r'attn\.(?:qkv|proj)|mlp\.[03]',
        r'norm[12]',
    ),
    Preset('torchvision: ConvNeXt', r'features\.\d+\.\d+', r'block\.[35]', r'block\.2'),
    Preset(
        'transformers: CLIP, SigLIP',
        r'layers\.\d+',
        rf'self_attn\.(?:[qkv]_proj|out_proj)|{_MLP}',
        r'layer_norm[12]',
    ),
    Preset(
        'transformers: Dinov2, Dinov2WithRegisters, DINOv3 ViT, ViT, BEiT',
        r'(?:layer|layers)\.\d+',
        rf'{_QKVO}|mlp\.(?:fc[12]|(?:gate|up|down)_proj)',
        r'norm[12]|layernorm_(?:before|after)',
    ),
    Preset(
        'transformers 4: the same, Swin',
        r'(?:layers\.\d+\.blocks|layer)\.\d+',
        r'attention\.(?:attention|self)\.(?:query|key|value)|attention\.output\.dense|'
        r'intermediate\.dense|output\.dense|mlp\.(?:fc[12]|weights_in|weights_out)',
        r'norm[12]|layernorm_(?:before|after)',
    ),
    Preset(
        'transformers: ConvNeXt',
        r'stages\.\d+\.layers\.\d+',
        r'(?:pw|pointwise_)conv[12]',
        r'layernorm|layer_norm',
    ),
    Preset(
        'transformers: ResNet',
        r'stages\.\d+\.layers\.\d+',
        r'layer\.\d+\.convolution',
        r'layer\.\d+\.normalization',
    ),
)


def preset_names(names: Iterable[str], norms: bool = False) -> list[str]:
    """Choose the layers that are adapted by default.

    Args:
        names: Of all layers that can be adapted.
        norms: Whether normalisations are chosen too.

    Returns:
        Those of them that the preset of the family has; none if no family has such names.

    Raises:
        ValueError: If the blocks are in several places, as those of image and text are.
    """
    names, fits = list(names), []
    for preset in PRESETS:
        regex = re.compile(rf'((?:.*\.)?)(?:{preset.block})\.(?:{preset.layers})')
        fits.append([match[1] for name in names if (match := regex.fullmatch(name))])
    places = max(fits, key=len)
    preset = PRESETS[fits.index(places)]
    if len({*places}) > 1:
        raise ValueError(
            f'blocks are in several places, {sorted({*places})}: choose by targets, such as '
            f"targets=r'{re.escape(places[-1])}.+'"
        )
    layers = f'{preset.layers}|{preset.norms}' if norms else preset.layers
    regex = re.compile(rf'{re.escape("".join(places[:1]))}(?:{preset.block})\.(?:{layers})')
    return [name for name in names if places and regex.fullmatch(name)]
