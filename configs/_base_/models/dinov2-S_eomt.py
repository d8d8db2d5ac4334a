# DINOv2-S and EoMT, 512 x 512
_base_ = './dinov2-L_eomt.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='dinov2_vits14')),
    decode_head=dict(num_blocks=3),
)
