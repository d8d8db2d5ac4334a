# DINOv3-L and Mask2Former, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmVisionTransformer',
        model_name='vit_large_patch16_dinov3',
        pyramid=(1, 1, 1, 1),  # resized by the pixel decoder
        init_cfg=dict(type='Pretrained', checkpoint='dinov3_vitl16'),
    )
)
