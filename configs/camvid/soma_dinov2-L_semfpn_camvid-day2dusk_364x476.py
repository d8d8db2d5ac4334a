# SoMA (arXiv 2412.04077): CamVid.
_base_ = ['../_base_/models/dinov2-L_semfpn_364x476.py', '../_base_/camvid_364x476.py']
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=4000, by_epoch=False),
]
