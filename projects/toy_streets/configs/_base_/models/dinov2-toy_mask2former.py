# A small ViT (pretrain_toy.py) and a small Mask2Former, for the toy streets on a CPU
_base_ = '../../../../../configs/_base_/models/dinov2-L_mask2former.py'

toy_attention = dict(embed_dims=64, num_heads=4)
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=6, num_heads=2),
        img_size=256,
        init_cfg=dict(checkpoint='checkpoints/dinov2_toy_converted.pth'),
    ),
    decode_head=dict(
        in_channels=[64, 64, 64, 64],
        feat_channels=64,
        out_channels=64,
        num_queries=40,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=1,
                layer_cfg=dict(
                    self_attn_cfg=toy_attention,
                    ffn_cfg=dict(embed_dims=64, feedforward_channels=128),
                ),
            ),
            positional_encoding=dict(num_feats=32),
        ),
        positional_encoding=dict(num_feats=32),
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=toy_attention,
                cross_attn_cfg=toy_attention,
                ffn_cfg=dict(embed_dims=64, feedforward_channels=128),
            ),
        ),
        train_cfg=dict(num_points=1024),
    ),
    test_cfg=dict(crop_size=(256, 256), stride=(171, 171)),
)
