# DINOv2-S and SemFPN, 512 x 512
_base_ = './dinov2-L_semfpn.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='dinov2_vits14')),
    neck=dict(in_channels=[384, 384, 384, 384]),
)
