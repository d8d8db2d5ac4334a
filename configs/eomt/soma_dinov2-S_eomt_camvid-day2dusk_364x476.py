# SoMA (arXiv 2412.04077) in EoMT: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_eomt_364x476.py', '../_base_/camvid_364x476_eomt_cpu.py']
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=4)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=400, by_epoch=False),
]
