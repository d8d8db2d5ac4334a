"""Small networks that Rein is put into."""

import torch
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer


def vit(**options):
    sizes = dict(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)
    return VisionTransformer(**sizes, num_classes=0, global_pool='', **options)


def convnext():
    return ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 12, 16, 20), num_classes=0, global_pool='')


def resnet():
    return ResNet(BasicBlock, (1, 2, 1, 1), channels=(8, 8, 16, 16), num_classes=0, global_pool='')


# A network, the names of the blocks that Rein is put behind, and their widths.
NETWORKS = {
    'vit': (vit, ['blocks.0', 'blocks.1', 'blocks.2'], [16]),
    'registers': (lambda: vit(reg_tokens=2), ['blocks.1', 'blocks.2'], [16]),
    'no class token': (
        lambda: vit(class_token=False, no_embed_class=True),
        ['blocks.0', 'blocks.2'],
        [16],
    ),
    'convnext': (
        convnext,
        ['stages.0.blocks.0', 'stages.1.blocks.0', 'stages.1.blocks.1', 'stages.3.blocks.0'],
        [8, 12, 20],
    ),
    'resnet': (resnet, ['layer2.0', 'layer2.1', 'layer3.0', 'layer4.0'], [8, 16]),
    'stages': (resnet, ['layer3', 'layer4'], [16]),
}


def make_large(model):
    """Tokens, maps and scale far from zero."""
    with torch.no_grad():
        for parameter in model.reins.parameters():
            parameter.copy_(torch.randn_like(parameter))
