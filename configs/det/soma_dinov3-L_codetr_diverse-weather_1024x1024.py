# SoMA with Co-DETR, Diverse Weather: Daytime-Clear -> all five domains, DINOv3-L
_base_ = [
    '../_base_/models/dinov3-L_codetr.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k_codetr.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
