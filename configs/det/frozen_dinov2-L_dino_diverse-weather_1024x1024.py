# Frozen backbone with DINO, Diverse Weather: Daytime-Clear -> all five domains
_base_ = [
    '../_base_/models/dinov2-L_dino.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(frozen_blocks=24))
