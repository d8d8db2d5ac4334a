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


def co_detr_shapes(maps, dims, layers, queries, classes, hidden, fully, anchors, heads, levels=5):
    """Shapes of Co-DETR in SoMA's release outside of the backbone, by name.

    Args:
        maps: Width of the backbone's maps.
        dims: Width of neck, encoder and decoder.
        layers: Number of layers of the encoder, and of the decoder.
        queries: Number of queries.
        classes: Number of classes.
        hidden: Width within the layers.
        fully: Width of the RoI head's linear layers.
        anchors: Number of the RPN's anchors at a place.
        heads: Number of heads of the attention, which looks at 4 points of a level.
        levels: Number of maps.
    """
    shapes = {}

    def add(name, *shape):
        shapes[f'{name}.weight'], shapes[f'{name}.bias'] = shape, shape[:1]

    def convolution(name, side, width=dims):
        shapes[f'{name}.conv.weight'] = (dims, width, side, side)
        add(f'{name}.gn', dims)

    def deformable(name):
        add(f'{name}.sampling_offsets', 2 * 4 * heads * levels, dims)
        add(f'{name}.attention_weights', 4 * heads * levels, dims)
        add(f'{name}.value_proj', dims, dims)
        add(f'{name}.output_proj', dims, dims)

    for level in range(levels - 1):
        convolution(f'neck.convs.{level}', 1, maps)
    convolution('neck.extra_convs.0', 3, maps)
    head, transformer = 'query_head', 'query_head.transformer'
    shapes[f'{transformer}.level_embeds'] = (levels, dims)
    shapes[f'{transformer}.query_embed.weight'] = (queries, dims)
    shapes[f'{head}.dn_generator.label_embedding.weight'] = (classes, dims)
    for part, norms, count in (('encoder', 2, layers[0]), ('decoder', 3, layers[1])):
        for index in range(count):
            layer = f'{transformer}.{part}.layers.{index}'
            if part == 'decoder':
                shapes[f'{layer}.attentions.0.attn.in_proj_weight'] = (3 * dims, dims)
                shapes[f'{layer}.attentions.0.attn.in_proj_bias'] = (3 * dims,)
                add(f'{layer}.attentions.0.attn.out_proj', dims, dims)
            deformable(f'{layer}.attentions.{norms - 2}')
            add(f'{layer}.ffns.0.layers.0.0', hidden, dims)
            add(f'{layer}.ffns.0.layers.1', dims, hidden)
            for norm in range(norms):
                add(f'{layer}.norms.{norm}', dims)
    add(f'{transformer}.decoder.ref_point_head.0', dims, 2 * dims)
    add(f'{transformer}.decoder.ref_point_head.2', dims, dims)
    add(f'{transformer}.decoder.norm', dims)
    add(f'{transformer}.enc_output', dims, dims)
    add(f'{transformer}.enc_output_norm', dims)
    for auxiliary in range(2):
        add(f'{transformer}.aux_pos_trans.{auxiliary}', dims, 2 * dims)
        add(f'{transformer}.aux_pos_trans_norm.{auxiliary}', dims)
    for index in range(layers[1] + 1):
        add(f'{head}.cls_branches.{index}', classes, dims)
        for place, width in ((0, dims), (2, dims), (4, 4)):
            add(f'{head}.reg_branches.{index}.{place}', width, dims)
    add(f'{head}.downsample.0', dims, dims, 3, 3)
    add(f'{head}.downsample.1', dims)
    add('rpn_head.rpn_conv', dims, dims, 3, 3)
    add('rpn_head.rpn_cls', anchors, dims, 1, 1)
    add('rpn_head.rpn_reg', 4 * anchors, dims, 1, 1)
    roi, atss = 'roi_head.0.bbox_head', 'bbox_head.0'
    add(f'{roi}.fc_cls', classes + 1, fully)
    add(f'{roi}.fc_reg', 4 * classes, fully)
    add(f'{roi}.shared_fcs.0', fully, 7 * 7 * dims)
    add(f'{roi}.shared_fcs.1', fully, fully)
    for kind in ('cls', 'reg'):
        convolution(f'{atss}.{kind}_convs.0', 3)
    for kind, width in (('cls', classes), ('reg', 4), ('centerness', 1)):
        add(f'{atss}.atss_{kind}', width, dims, 3, 3)
    return shapes | {f'{atss}.scales.{level}.scale': () for level in range(levels + 1)}
