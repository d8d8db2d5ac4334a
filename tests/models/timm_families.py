"""Small twins of the families of foundation models, made by timm, and files of their makers."""

import re

import torch

from soma.models.backbones.timm_network import create_network

VIT = dict(embed_dim=16, depth=3, num_heads=2, img_size=32, patch_size=8)
# The model of timm and its options. Official weights have names of their own (OFFICIAL).
FAMILIES = {
    'DINOv2': ('vit_small_patch14_dinov2', VIT),
    'DINOv2 registers': ('vit_small_patch14_reg4_dinov2', VIT),
    'DINOv2 giant': ('vit_giant_patch14_dinov2', VIT | dict(mlp_ratio=4)),
    'DINOv3': ('vit_small_patch16_dinov3', VIT),
    'DINOv3 qkvb': ('vit_small_patch16_dinov3_qkvb', VIT),
    'DINOv3 plus': ('vit_small_plus_patch16_dinov3', VIT),
    'EVA-02': ('eva02_large_patch14_448', VIT),
    'EVA-02 CLIP': ('eva02_large_patch14_clip_336', VIT),
    'CLIP': ('vit_large_patch14_clip_336', VIT),
    'SigLIP 2': ('vit_large_patch16_siglip_512', VIT),
    'SAM': ('samvit_large_patch16', VIT | dict(window_size=3, global_attn_indexes=(2,))),
    'Perception Encoder': ('vit_pe_spatial_large_patch14_448', VIT),
    'DeiT III': ('deit3_large_patch16_384', VIT),
    'MAE': ('vit_large_patch16_224', VIT),
}
STAGES = {
    'ConvNeXt': ('convnext_large', dict(depths=(1, 1, 2, 1), dims=(8, 8, 16, 16))),
    'Swin': (
        'swin_base_patch4_window7_224',
        dict(depths=(1, 2, 1, 1), num_heads=(1, 1, 2, 2), embed_dim=8, window_size=3, img_size=32),
    ),
    'SAM 2': (
        'sam2_hiera_tiny',
        dict(embed_dim=8, stages=(1, 2, 1, 1), global_att_blocks=(2,), window_spec=(4, 2, 2, 2)),
    ),
}


def make(family):
    """A network of random weights, none of them special."""
    name, options = {**FAMILIES, **STAGES}[family]
    torch.manual_seed(0)
    network = create_network(name, options).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(torch.randn_like(parameter) / 10)
    return network


def rename(state, *pairs, prefix=''):
    """Names by regular expressions, the first that fits a part of one, in turn."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in pairs:
            name = re.sub(pattern, replacement, name)
        renamed[prefix + name] = value
    return renamed


def dinov2(state):
    state = rename(state, (r'mlp\.fc1', 'mlp.w12'), (r'mlp\.fc2', 'mlp.w3'))
    return {**state, 'mask_token': torch.zeros(1, 16)}


def dinov2_small(state):
    return {**state, 'mask_token': torch.zeros(1, 16)}


def dinov2_registers(state):
    """There, the class token has a position."""
    token, position = state['cls_token'], torch.zeros_like(state['cls_token'])
    state = rename(state, ('reg_token', 'register_tokens'))
    state['pos_embed'] = torch.cat([position, state['pos_embed']], 1)
    return {**state, 'cls_token': token, 'mask_token': torch.zeros(1, 16)}


def dinov3(state):
    official = {'mask_token': torch.zeros(1, 1, 16), 'rope_embed.periods': torch.ones(2)}
    official |= {'local_cls_norm.weight': torch.ones(16), 'local_cls_norm.bias': torch.zeros(16)}
    state = rename(state, ('reg_token', 'storage_tokens'), (r'gamma_(\d)', r'ls\1.gamma'))
    state = (
        rename(state, ('fc1_g', 'w1'), ('fc1_x', 'w2'), (r'mlp\.fc2', 'mlp.w3'))
        if any('fc1_g' in name for name in state)
        else state
    )
    for block in range(3):
        place = f'blocks.{block}.attn'
        q, v = (state.pop(f'{place}.{n}_bias', torch.zeros(16)) for n in 'qv')
        official[f'{place}.qkv.bias'] = torch.cat([q, torch.zeros(16), v])
        official[f'{place}.qkv.bias_mask'] = torch.ones(48)
    return {**state, **official}


def eva02(state):
    state = rename(
        state,
        ('mlp.fc1_g', 'mlp.w1'),
        ('mlp.fc1_x', 'mlp.w2'),
        ('mlp.fc2', 'mlp.w3'),
        (r'mlp\.norm', 'mlp.ffn_ln'),
        (r'attn\.norm', 'attn.inner_attn_ln'),
        (r'([qv])_proj\.bias', r'\1_bias'),
    )
    head = {'head.weight': torch.zeros(3, 16), 'rope.freqs_cos': torch.zeros(4)}
    return {'model': {**state, **head}}


def eva02_mim(state):
    """Pretrained by masks: there is no norm behind the last block."""
    masked = {'mask_token': torch.zeros(1, 1, 16), 'lm_head.weight': torch.zeros(4, 16)}
    norm = {'norm.weight': torch.ones(16), 'norm.bias': torch.zeros(16)}
    return {'module': {**eva02(state)['model'], **masked, **norm}}


def open_clip(state):
    text = {'text.token_embedding.weight': torch.zeros(4, 4), 'logit_scale': torch.zeros(())}
    head = {'visual.head.proj.weight': torch.zeros(4, 16)}
    return {**rename(state, prefix='visual.trunk.'), **text, **head}


def eva_clip(state):
    state = eva02(state)['model']
    text = {'text.positional_embedding': torch.zeros(4, 4), 'logit_scale': torch.zeros(())}
    return {**rename(state, prefix='visual.'), **text}


def clip(state):
    state = rename(
        state,
        (r'patch_embed\.proj', 'conv1'),
        ('^pos_embed', 'positional_embedding'),
        (r'^blocks', 'transformer.resblocks'),
        ('norm_pre', 'ln_pre'),
        (r'^norm\.', 'ln_post.'),
        (r'norm(\d)', r'ln_\1'),
        (r'attn\.qkv\.', 'attn.in_proj_'),
        (r'attn\.proj', 'attn.out_proj'),
        (r'mlp\.fc1', 'mlp.c_fc'),
        (r'mlp\.fc2', 'mlp.c_proj'),
        (r'gamma_(\d)', r'ls_\1.gamma'),
        ('cls_token', 'class_embedding'),
    )
    for name, axes in (('class_embedding', (0, 0)), ('positional_embedding', (0,))):
        for axis in axes:
            state[name] = state[name][axis]
    return {**state, 'proj': torch.zeros(16, 4)}


def openai(state):
    text = {'transformer.resblocks.0.ln_1.weight': torch.zeros(4), 'ln_final.bias': torch.ones(4)}
    return {**rename(clip(state), prefix='visual.'), **text, 'logit_scale': torch.zeros(())}


def sam(state):
    state = rename(state, (r'mlp\.fc', 'mlp.lin'), prefix='image_encoder.')
    return {**state, 'mask_decoder.iou_token.weight': torch.zeros(1, 4)}


def mae(state):
    return {
        'model': {
            **state,
            'decoder_embed.weight': torch.zeros(4, 16),
            'decoder_pos_embed': torch.zeros(1, 17, 4),
        }
    }


def deit3(state):
    state = rename(state, (r'ls(\d)\.gamma', r'gamma_\1'))
    return {'model': {**state, 'head.weight': torch.zeros(3, 16), 'head.bias': torch.zeros(3)}}


def convnext(state):
    state = rename(
        state,
        (r'^stem\.', 'downsample_layers.0.'),
        (r'^stages\.(\d)\.downsample\.', r'downsample_layers.\1.'),
        (r'^(stages\.\d)\.blocks', r'\1'),
        ('conv_dw', 'dwconv'),
        (r'mlp\.fc', 'pwconv'),
        (r'^head\.norm', 'norm'),
    )
    return {'model': {**state, 'head.weight': torch.zeros(3, 16), 'head.bias': torch.zeros(3)}}


def dinov3_convnext(state):
    state = convnext(state)['model']
    kept = {name: value for name, value in state.items() if not name.startswith('head.')}
    return {**kept, 'norms.3.weight': state['norm.weight'], 'norms.3.bias': state['norm.bias']}


def swin(state):
    state = rename(
        state, (r'^layers\.(\d)\.downsample', lambda m: f'layers.{int(m[1]) - 1}.downsample')
    )
    index = {'layers.0.blocks.0.attn.relative_position_index': torch.zeros(9, 9).long()}
    return {'model': {**state, **index, 'head.weight': torch.zeros(3, 16)}}


def sam2(state):
    state = {n: v for n, v in state.items() if not n.startswith('head.')}
    state = rename(state, (r'mlp\.fc1', 'mlp.layers.0'), (r'mlp\.fc2', 'mlp.layers.1'))
    state = rename(state, prefix='image_encoder.trunk.')
    return {'model': {**state, 'memory_encoder.out_proj.weight': torch.zeros(4, 4)}}


def timm_names(state):
    return {**state, 'head.weight': torch.zeros(3, 16), 'head.bias': torch.zeros(3)}


# Two layouts of the official files of each family.
OFFICIAL = {
    'DINOv2': (dinov2_small, timm_names),
    'DINOv2 registers': (dinov2_registers, timm_names),
    'DINOv2 giant': (dinov2, timm_names),
    'DINOv3': (dinov3, timm_names),
    'DINOv3 qkvb': (dinov3, timm_names),
    'DINOv3 plus': (dinov3, timm_names),
    'EVA-02': (eva02, eva02_mim),
    'EVA-02 CLIP': (eva_clip, open_clip),
    'CLIP': (openai, timm_names),
    'SigLIP 2': (open_clip, timm_names),
    'SAM': (sam, timm_names),
    'Perception Encoder': (openai, clip),
    'DeiT III': (deit3, timm_names),
    'MAE': (mae, timm_names),
    'ConvNeXt': (convnext, dinov3_convnext),
    'Swin': (swin, timm_names),
    'SAM 2': (sam2, timm_names),
}
