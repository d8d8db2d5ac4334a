# SigLIP 2-L and Mask2Former, 512 x 512
_base_ = './dinov3-L_mask2former.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        model_name='vit_large_patch16_siglip_512',
        init_cfg=dict(checkpoint='timm/vit_large_patch16_siglip_512.v2_webli'),
    ),
)
