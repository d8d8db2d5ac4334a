# SegFormer with MiT-B5 (arXiv 2105.15203), 512 x 512, as in its own code and ReVT's. mmseg's
# MixVisionTransformer and SegformerHead (with norms and ReLUs) take the same keys. The pretrained
# weights are SegFormer's of ImageNet-1K, with its names (mit_b5.pth) or with mmseg's:
#   https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/<file>
model = dict(
    type='WindowEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='SegFormerMiT',
        embed_dims=64,
        num_layers=[3, 6, 40, 3],
        num_heads=[1, 2, 5, 8],
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mit_b5_20220624-658746d9.pth'),
    ),
    decode_head=dict(
        type='PlainSegformerHead',
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=768,  # of B2 to B5; mmseg's configs have 256
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
sync_bn = 'torch'  # over the GPUs, where there are several
