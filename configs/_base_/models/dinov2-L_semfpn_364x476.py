# DINOv2-L and SemFPN with strides of 7 to 56, 364 x 476, in patches of 14 as in the public file
_base_ = './dinov2-L_semfpn.py'

model = dict(
    data_preprocessor=dict(size=(252, 252)),
    backbone=dict(img_size=(364, 476), patch_size=14, pyramid=(2, 1, 0.5, 0.25)),
    test_cfg=dict(_delete_=True, mode='whole'),
)
