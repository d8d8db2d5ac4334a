# The small ViT with SemFPN
_base_ = './small_mask2former.py'

model = dict(
    backbone=dict(pyramid=(2, 1, 0.5, 0.25)),
    neck=dict(type='FPN', in_channels=[64, 64, 64, 64], out_channels=64, num_outs=4),
    decode_head=dict(
        _delete_=True,
        type='FPNHead',
        in_channels=[64, 64, 64, 64],
        in_index=[0, 1, 2, 3],
        feature_strides=[8, 16, 32, 64],
        channels=64,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=dict(type='GN', num_groups=16),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
)
