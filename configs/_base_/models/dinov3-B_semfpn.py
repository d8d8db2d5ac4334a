# DINOv3-B and SemFPN, 512 x 512
_base_ = './dinov3-L_semfpn.py'

model = dict(
    backbone=dict(
        model_name='vit_base_patch16_dinov3',
        init_cfg=dict(checkpoint='dinov3_vitb16'),
    ),
    neck=dict(in_channels=[768, 768, 768, 768]),
)
