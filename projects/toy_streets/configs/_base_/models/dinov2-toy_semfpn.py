# The small ViT with SemFPN, which learns faster than Mask2Former
_base_ = './dinov2-toy_mask2former.py'

# A patch has 16 pixels: maps finer than stride 8 cost most of the time and hold nothing new.
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
        # half the weight for road, building and sky, which fill most of an image
        loss_decode=dict(
            type='CrossEntropyLoss',
            class_weight=[0.5, 1, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 1, 1, 1, 1, 1, 1, 1, 1],
        ),
    ),
)
