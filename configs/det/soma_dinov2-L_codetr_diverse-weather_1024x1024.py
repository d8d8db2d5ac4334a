# SoMA with Co-DETR, Diverse Weather: Daytime-Clear -> all five domains.
# Published mAP: DC 69.4, NC 59.3, DR 59.3, NR 47.6, DF 51.0.
_base_ = [
    '../_base_/models/dinov2-L_codetr.py',
    '../_base_/datasets/diverse_weather_1024x1024.py',
    '../_base_/schedules/adamw_det_40k.py',
    '../_base_/default_runtime_det.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
# What differs from the schedule of the other detectors is the release's.
default_hooks = dict(checkpoint=dict(max_keep_ckpts=8))
no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys=dict(query_embed=no_decay, level_embed=no_decay)
    )
)
warm_up, steps = _base_.param_scheduler
param_scheduler = [
    warm_up,
    dict(steps, begin=1500),  # counts from there: drops at 25,500 and 33,500
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
