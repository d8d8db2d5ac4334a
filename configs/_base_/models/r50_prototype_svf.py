# r50_prototype.py with SVF (2206.06122): trainable singular values in stages 2 to 4
_base_ = './r50_prototype.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='SVF', targets=r'layer[234]\.\d+\.(conv[123]|downsample\.0)'),
    )
)
