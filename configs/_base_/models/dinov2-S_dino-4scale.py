# DINOv2-S and DINO with 4 levels, 1024 x 1024
_base_ = './dinov2-L_dino-4scale.py'

model = dict(
    backbone=dict(
        arch='small',
        init_cfg=dict(checkpoint='dinov2_vits14'),
    ),
    neck=dict(in_channels=[384, 384, 384, 384]),
)
