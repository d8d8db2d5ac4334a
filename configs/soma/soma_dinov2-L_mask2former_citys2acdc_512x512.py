# SoMA, Cityscapes -> ACDC; 4 GPUs.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/citys_adverse_512x512.py',
    '../_base_/datasets/acdc.py',
    '../_base_/schedules/adamw_40k_warmup10k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
custom_hooks = [*_base_.custom_hooks, dict(type='TrainableEMAHook', begin_iter=20000)]
