# DINOv2-B and SemFPN, 512 x 512
_base_ = './dinov2-L_semfpn.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='dinov2_vitb14')),
    neck=dict(in_channels=[768, 768, 768, 768]),
)
