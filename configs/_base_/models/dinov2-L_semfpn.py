# DINOv2-L and SemFPN, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    backbone=dict(pyramid=(4, 2, 1, 0.5)),
    neck=dict(type='FPN', in_channels=[1024, 1024, 1024, 1024], out_channels=256, num_outs=4),
    decode_head=dict(
        _delete_=True,
        type='FPNHead',
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        dropout_ratio=0.1,
        num_classes=19,
        # Not SoMA's SyncBN (soma_dinov2-L_semfpn-syncbn_...): GN is the same on any number of GPUs.
        norm_cfg=dict(type='GN', num_groups=32),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
)
