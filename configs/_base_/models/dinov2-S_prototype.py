# DINOv2-S and prototypes (PANet, 1908.06391), images of 417 x 417: 30 x 30 patches
data_preprocessor = dict(
    type='EpisodePreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(417, 417),
)
model = dict(
    type='PrototypeSegmentor',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='DINOv2',
        arch='small',
        img_size=420,
        patch_size=14,
        out_indices=(11,),
        pyramid=(1,),
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/dinov2_vits14_pretrain.pth'),
    ),
)
