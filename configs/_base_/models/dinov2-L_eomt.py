# DINOv2-L and EoMT, 512 x 512
_base_ = './dinov2-L_mask2former.py'

model = dict(
    type='EoMT',
    backbone=dict(
        _delete_=True,
        type='DINOv2',
        arch='large',
        img_size=512,
        patch_size=16,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dinov2_converted.pth'),
    ),
    decode_head=dict(_delete_=True, type='EoMTHead', num_classes=19, num_queries=100, num_blocks=4),
)
