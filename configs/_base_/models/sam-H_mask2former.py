# SAM-H and Mask2Former, 512 x 512: 32 blocks, maps behind a third, half, two thirds and all
_base_ = './sam-L_mask2former.py'

model = dict(
    backbone=dict(
        model_name='samvit_huge_patch16',
        init_cfg=dict(checkpoint='sam_vit_h'),
    ),
    decode_head=dict(in_channels=[1280, 1280, 1280, 1280]),
)
