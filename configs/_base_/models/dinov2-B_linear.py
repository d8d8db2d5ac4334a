# DINOv2-B and a linear head, 512 x 512
_base_ = './dinov2-L_linear.py'

model = dict(
    backbone=dict(
        arch='base',
        out_indices=(11,),
        init_cfg=dict(checkpoint='dinov2_vitb14'),
    ),
    decode_head=dict(in_channels=768, channels=768),
)
