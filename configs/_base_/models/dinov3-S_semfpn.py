# DINOv3-S, whose q and v have biases, and SemFPN, 512 x 512
_base_ = './dinov3-L_semfpn.py'

model = dict(
    backbone=dict(
        model_name='vit_small_patch16_dinov3_qkvb',
        init_cfg=dict(checkpoint='dinov3_vits16'),
    ),
    neck=dict(in_channels=[384, 384, 384, 384]),
)
