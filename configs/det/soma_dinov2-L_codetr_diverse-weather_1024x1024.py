# SoMA with Co-DETR, Diverse Weather: Daytime-Clear -> all five domains.
# Published mAP: DC 69.4, NC 59.3, DR 59.3, NR 47.6, DF 51.0.
_base_ = [
    '../_base_/models/dinov2-L_codetr.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k_codetr.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
