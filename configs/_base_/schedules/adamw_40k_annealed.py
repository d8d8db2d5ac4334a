# The 40,000 iterations for SoMA: the weight decay falls, too
_base_ = './adamw_40k.py'

param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
