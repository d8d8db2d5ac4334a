# DINOv2-S and Mask2Former, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='dinov2_vits14')),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
)
