# A small ViT (pretrain_toy.py) and a small DINO, for the toy streets on a CPU
_base_ = '../../../../../configs/_base_/models/dinov2-L_dino.py'

# One map of stride 16: the toys' things are larger, and a finer one takes four times as long.
toy_attention = dict(embed_dims=128, num_heads=8)
deformable = dict(toy_attention, num_levels=1)
toy_ffn = dict(embed_dims=128, feedforward_channels=256)
model = dict(
    num_queries=100,
    num_feature_levels=1,
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=6, num_heads=2),
        img_size=256,
        out_indices=(5,),
        pyramid=(1,),
        init_cfg=dict(checkpoint='checkpoints/dinov2_toy_converted.pth'),
    ),
    neck=dict(pyramid=(1,), in_channels=[64], out_channels=128, num_outs=1),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=toy_ffn)),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(self_attn_cfg=toy_attention, cross_attn_cfg=deformable, ffn_cfg=toy_ffn),
    ),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(type='CoDINOHead', embed_dims=128, loss_cls=dict(loss_weight=2.0)),
    # So short a training leaves several boxes on a thing.
    test_cfg=dict(max_per_img=100, nms=dict(type='nms', iou_threshold=0.5)),
)
