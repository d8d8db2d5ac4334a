# RecycleLoRA (arXiv 2603.28142): CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_semfpn_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=32, sub_rank=4)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=400, by_epoch=False),
]
