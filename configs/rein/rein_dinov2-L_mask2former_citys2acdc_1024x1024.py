# Rein, Cityscapes -> ACDC; 4 GPUs.
_base_ = [
    '../_base_/models/dinov2-L_mask2former_1024x1024.py',
    '../_base_/datasets/citys_adverse_1024x1024.py',
    '../_base_/datasets/acdc.py',
    '../_base_/schedules/adamw_40k_rein.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(adapter=dict(type='Rein', rank=16, link=True)),
    decode_head=dict(type='ReinMask2FormerHead'),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10000, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=10000, end=40000, by_epoch=False),
]
