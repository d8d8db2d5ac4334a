# DINOv2-L and a linear head, 1 x 1, on the last map, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    backbone=dict(out_indices=(23,), pyramid=(1,)),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=1024,
        channels=1024,
        in_index=0,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
)
