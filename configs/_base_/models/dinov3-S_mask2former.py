# DINOv3-S, whose q and v have biases, and Mask2Former, 512 x 512
_base_ = './dinov3-L_mask2former.py'

model = dict(
    backbone=dict(
        model_name='vit_small_patch16_dinov3_qkvb',
        init_cfg=dict(checkpoint='dinov3_vits16'),
    ),
    decode_head=dict(in_channels=[384, 384, 384, 384]),
)
