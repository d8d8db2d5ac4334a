"""Weights under the names that the public releases give them."""

import torch


def split_qkv(state):
    """As SoMA's release converts DINOv2: query, key and value apart, at the end."""
    parts = {}
    for name in [name for name in state if '.qkv.' in name]:
        for part, value in zip('qkv', state[name].chunk(3), strict=True):
            parts[name.replace('.qkv.', f'.{part}.')] = value.clone()
    return {name: value for name, value in state.items() if '.qkv.' not in name} | parts


def soma_adapter(rank=2, head=None, biases=False):
    """SoMA's adapter-and-head files: random factors in the last two of four blocks of width 16.

    Args:
        rank: Of the factors.
        head: Weights of the head.
        biases: Whether the biases of all other layers of the backbone are there too.
    """
    state = {}
    shapes = {f'attn.{n}': (16, 16) for n in ('q', 'k', 'v', 'proj')}
    shapes |= {'mlp.fc1': (64, 16), 'mlp.fc2': (16, 64)}
    for block in range(4):
        key = f'backbone.model.blocks.{block}'
        for name, (rows, columns) in shapes.items():
            if block > 1 or biases:
                state[f'{key}.{name}.bias'] = torch.randn(rows) / 4
            if block > 1:
                state[f'{key}.{name}.lora_A.weight'] = torch.randn(rank, columns) / 4
                state[f'{key}.{name}.lora_B.weight'] = torch.randn(rows, rank) / 4
        if biases:
            state |= {f'{key}.norm{i}.bias': torch.randn(16) / 4 for i in (1, 2)}
    if biases:
        state['backbone.model.patch_embed.proj.bias'] = torch.randn(16) / 4
        state['backbone.model.norm.bias'] = torch.randn(16) / 4
    state['backbone.model.mask_token'] = torch.zeros(1, 16)
    return state | {f'decode_head.{name}': value for name, value in (head or {}).items()}


def rein(blocks, tokens=5, rank=2, width=16, queries=32, place=''):
    """Rein's tokens in one place: ``''`` of a transformer, ``'0.'`` of the first stage."""
    shapes = {
        'scale': (),
        'learnable_tokens_a': (blocks, tokens, rank),
        'learnable_tokens_b': (blocks, rank, width),
        'mlp_token2feat.weight': (width, width),
        'mlp_token2feat.bias': (width,),
        'mlp_delta_f.weight': (width, width),
        'mlp_delta_f.bias': (width,),
        'transform.weight': (queries, width),
        'transform.bias': (queries,),
        'merge.weight': (queries, 3 * queries),
        'merge.bias': (queries,),
    }
    return {f'backbone.reins.{place}{n}': torch.randn(shape) / 4 for n, shape in shapes.items()}
