# EVA-02-L and Mask2Former, 512 x 512. As in Rein's release, its patches of 14 become 16.
_base_ = './dinov3-L_mask2former.py'

model = dict(
    data_preprocessor=dict(mean=[122.771, 116.746, 104.094], std=[68.5, 66.632, 70.323]),
    backbone=dict(
        model_name='eva02_large_patch14_224',
        img_size=512,
        patch_size=16,
        init_cfg=dict(checkpoint='timm/eva02_large_patch14_224.mim_m38m'),
    ),
)
