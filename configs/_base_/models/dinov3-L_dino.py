# DINOv3-L and DINO with 5 levels (strides 4 to 64), 1024 x 1024
_base_ = './dinov2-L_dino.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmVisionTransformer',
        model_name='vit_large_patch16_dinov3',
        pyramid=(1, 1, 1, 1),  # resized by the neck
        init_cfg=dict(type='Pretrained', checkpoint='dinov3_vitl16'),
    )
)
