# SoMA with DINO of 4 levels (strides 8 to 64): a quarter of the tokens
_base_ = './soma_dinov2-L_dino_diverse-weather_1024x1024.py'

four_levels = dict(num_levels=4)
model = dict(
    num_feature_levels=4,
    neck=dict(pyramid=(2, 1, 0.5, 0.25), num_outs=4),
    encoder=dict(layer_cfg=dict(self_attn_cfg=four_levels)),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=four_levels)),
)
