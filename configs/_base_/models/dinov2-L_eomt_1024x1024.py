# DINOv2-L and EoMT, 1024 x 1024
_base_ = './dinov2-L_eomt.py'

model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(
        img_size=1024,
        init_cfg=dict(checkpoint='checkpoints/dinov2_converted_1024x1024.pth'),
    ),
    test_cfg=dict(crop_size=(1024, 1024), stride=(683, 683)),
)
