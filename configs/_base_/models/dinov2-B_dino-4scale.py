# DINOv2-B and DINO with 4 levels, 1024 x 1024
_base_ = './dinov2-L_dino-4scale.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='dinov2_vitb14'),
    ),
    neck=dict(in_channels=[768, 768, 768, 768]),
)
