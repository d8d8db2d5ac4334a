# SoMA on the convolutions of a ResNet-50, Daytime-Clear -> Diverse Weather. A light example.
_base_ = [
    '../_base_/models/r50_faster-rcnn.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k.py',
    '../_base_/default_runtime_det.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        # the early stages stay as they are, like the early blocks of DINOv2
        adapter=dict(type='SoMA', rank=16, targets=r'layer[34]\.\d+\.(conv[123]|downsample\.0)'),
    )
)
