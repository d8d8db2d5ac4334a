# A ViT of width 64 with SemFPN, for measurements on a CPU
_base_ = '../../configs/_base_/models/dinov2-L_semfpn.py'

# A patch has 16 pixels: maps finer than stride 8 cost most of the time and hold nothing new.
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=6, num_heads=2),
        img_size=256,
        pyramid=(2, 1, 0.5, 0.25),
    ),
    neck=dict(in_channels=[64, 64, 64, 64], out_channels=64),
    decode_head=dict(
        in_channels=[64, 64, 64, 64],
        feature_strides=[8, 16, 32, 64],
        channels=64,
        norm_cfg=dict(num_groups=16),
    ),
)
