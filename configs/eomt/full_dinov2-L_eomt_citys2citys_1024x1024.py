# EoMT as its authors train it, Cityscapes, tested on its validation images. Published: 84.2 mIoU.
_base_ = [
    '../_base_/models/dinov2-L_eomt_1024x1024.py',
    '../_base_/datasets/citys_eomt_1024x1024.py',
    '../_base_/schedules/eomt_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmVisionTransformer',  # whose names the public file has
        model_name='vit_large_patch14_reg4_dinov2',
        img_size=1024,
        patch_size=16,
        init_cfg=dict(type='Pretrained', checkpoint='timm/vit_large_patch14_reg4_dinov2.lvd142m'),
    ),
    test_cfg=dict(stride=(1024, 1024)),
)
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
