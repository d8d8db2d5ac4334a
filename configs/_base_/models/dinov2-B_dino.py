# DINOv2-B and DINO with 5 levels, 1024 x 1024
_base_ = './dinov2-L_dino.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='checkpoints/dinov2_vitb14_converted_1024x1024.pth'),
    ),
    neck=dict(in_channels=[768, 768, 768, 768]),
)
