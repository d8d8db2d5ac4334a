# SoMA on the toy streets, GTA -> all others
_base_ = [
    './_base_/models/dinov2-toy_semfpn.py',
    './_base_/datasets/toy_gta_256x256.py',
    './_base_/datasets/toy_domains.py',
    './_base_/schedules/toy.py',
    '../../../configs/_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=8, start_block=2)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=700, by_epoch=False),
]
