# DINOv2-B and Mask2Former, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='dinov2_vitb14')),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
)
