# DINOv2-S and a linear head, 512 x 512
_base_ = './dinov2-L_linear.py'

model = dict(
    backbone=dict(
        arch='small',
        out_indices=(11,),
        init_cfg=dict(checkpoint='dinov2_vits14'),
    ),
    decode_head=dict(in_channels=384, channels=384),
)
