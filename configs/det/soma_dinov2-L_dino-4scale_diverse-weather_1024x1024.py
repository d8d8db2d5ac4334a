# SoMA with DINO of 4 levels, Diverse Weather: Daytime-Clear -> all five domains
_base_ = [
    '../_base_/models/dinov2-L_dino-4scale.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k_annealed.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
