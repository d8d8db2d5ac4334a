# SegFormer with MiT-B3, 512 x 512
_base_ = './segformer-b5.py'

model = dict(
    backbone=dict(
        num_layers=[3, 4, 18, 3],
        init_cfg=dict(checkpoint='checkpoints/mit_b3_20220624-13b1141c.pth'),
    )
)
