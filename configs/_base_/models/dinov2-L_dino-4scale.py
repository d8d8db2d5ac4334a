# DINOv2-L and DINO with 4 levels (strides 8 to 64), 1024 x 1024: a quarter of the tokens of 5
_base_ = './dinov2-L_dino.py'

four_levels = dict(num_levels=4)
model = dict(
    num_feature_levels=4,
    neck=dict(pyramid=(2, 1, 0.5, 0.25), num_outs=4),
    encoder=dict(layer_cfg=dict(self_attn_cfg=four_levels)),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=four_levels)),
)
