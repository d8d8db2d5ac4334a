"""The public names of DINOv2 weights to those of other implementations."""


def to_transformers(state):
    names = {
        'cls_token': 'embeddings.cls_token',
        'mask_token': 'embeddings.mask_token',
        'register_tokens': 'embeddings.register_tokens',
        'pos_embed': 'embeddings.position_embeddings',
        'patch_embed.proj.weight': 'embeddings.patch_embeddings.projection.weight',
        'patch_embed.proj.bias': 'embeddings.patch_embeddings.projection.bias',
        'norm.weight': 'layernorm.weight',
        'norm.bias': 'layernorm.bias',
    }
    renamed = {}
    for key, value in state.items():
        if key in names:
            renamed[names[key]] = value
            continue
        key = key.replace('blocks.', 'encoder.layer.')
        key = key.replace('ls1.gamma', 'layer_scale1.lambda1')
        key = key.replace('ls2.gamma', 'layer_scale2.lambda1')
        key = key.replace('attn.proj', 'attention.output.dense')
        key = key.replace('mlp.w12', 'mlp.weights_in').replace('mlp.w3', 'mlp.weights_out')
        if 'attn.qkv' in key:
            for part, tensor in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                renamed[key.replace('attn.qkv', f'attention.attention.{part}')] = tensor.clone()
        else:
            renamed[key] = value
    return renamed


def to_timm(state):
    state = {k.replace('w12', 'fc1').replace('w3', 'fc2'): v for k, v in state.items()}
    state.pop('mask_token', None)
    if 'register_tokens' in state:
        pos = state.pop('pos_embed')
        state['reg_token'] = state.pop('register_tokens')
        state['cls_token'], state['pos_embed'] = state['cls_token'] + pos[:, :1], pos[:, 1:]
    return state
