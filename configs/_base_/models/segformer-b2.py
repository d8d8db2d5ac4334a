# SegFormer with MiT-B2, 512 x 512
_base_ = './segformer-b5.py'

model = dict(
    backbone=dict(
        num_layers=[3, 4, 6, 3],
        init_cfg=dict(checkpoint='checkpoints/mit_b2_20220624-66e8bf70.pth'),
    )
)
