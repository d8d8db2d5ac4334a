# SAM-L and Mask2Former, 512 x 512. Positions are of 1024 x 1024 and resized in each pass.
_base_ = './dinov3-L_mask2former.py'

model = dict(
    backbone=dict(
        model_name='samvit_large_patch16',
        init_cfg=dict(checkpoint='sam_vit_l'),
    ),
)
