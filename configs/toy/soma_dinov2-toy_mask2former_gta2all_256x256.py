# SoMA on the toy streets, GTA -> all others
_base_ = [
    '../_base_/models/dinov2-toy_mask2former.py',
    '../_base_/datasets/toy_gta_256x256.py',
    '../_base_/datasets/toy_domains.py',
    '../_base_/schedules/toy_1200.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=8, start_block=2)))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=50, end=1200, by_epoch=False),
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=1200, by_epoch=False),
]
