# A small ViT (tools/pretrain_toy.py) and a small DINO, for the toy streets on a CPU
_base_ = './dinov2-L_dino.py'

toy_levels = 3
toy_attention = dict(embed_dims=64, num_heads=4)
deformable = dict(toy_attention, num_levels=toy_levels)
toy_ffn = dict(embed_dims=64, feedforward_channels=128)
model = dict(
    num_queries=60,
    num_feature_levels=toy_levels,
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=6, num_heads=2),
        img_size=256,
        out_indices=(1, 3, 5),
        pyramid=(1, 1, 1),
        init_cfg=dict(checkpoint='checkpoints/dinov2_toy_converted.pth'),
    ),
    neck=dict(
        pyramid=(2, 1, 0.5),
        in_channels=[64, 64, 64],
        out_channels=64,
        norm_cfg=dict(num_groups=16),
        num_outs=toy_levels,
    ),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=toy_ffn)),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(self_attn_cfg=toy_attention, cross_attn_cfg=deformable, ffn_cfg=toy_ffn),
    ),
    positional_encoding=dict(num_feats=32),
    bbox_head=dict(embed_dims=64),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=60)),
    test_cfg=dict(max_per_img=60),
)
