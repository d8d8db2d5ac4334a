# Frozen backbone with DINO on the toy streets, clear daytime -> all five weathers
_base_ = [
    './_base_/models/dinov2-toy_dino.py',
    './_base_/datasets/toy_weather_512x256.py',
    './_base_/schedules/toy_det.py',
    '../../../configs/_base_/default_runtime_det.py',
]
model = dict(backbone=dict(frozen_blocks=6))
