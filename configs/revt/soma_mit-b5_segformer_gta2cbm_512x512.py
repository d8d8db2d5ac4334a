# SoMA on MiT-B5 with SegFormer's head, GTA -> Cityscapes, BDD100K, Mapillary
_base_ = './segformer_mit-b5_gta2cbm_512x512.py'

# Of the last two stages, the linear layers that are 1 x 1 convolutions in mmseg and the
# convolutions that shrink keys and values. Those of the attention are bare parameters of
# nn.MultiheadAttention, which no adapter can take.
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(
            type='SoMA', rank=16, targets=r'layers\.[23]\.1\.\d+\.(ffn\.layers\.[04]|attn\.sr)'
        ),
    )
)
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
