# DINOv3-L and SemFPN, 512 x 512
_base_ = './dinov2-L_semfpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmVisionTransformer',
        model_name='vit_large_patch16_dinov3',
        init_cfg=dict(type='Pretrained', checkpoint='dinov3_vitl16'),
    )
)
