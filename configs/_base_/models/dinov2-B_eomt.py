# DINOv2-B and EoMT, 512 x 512
_base_ = './dinov2-L_eomt.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint='dinov2_vitb14')),
    decode_head=dict(num_blocks=3),
)
