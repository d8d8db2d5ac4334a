# DINOv2-S and EoMT, 364 x 476, in patches of 14 as the public file has them
_base_ = './dinov2-S_eomt.py'

model = dict(
    data_preprocessor=dict(size=(252, 252)),
    backbone=dict(
        img_size=(364, 476),
        patch_size=14,
    ),
    test_cfg=dict(_delete_=True, mode='whole'),
)
