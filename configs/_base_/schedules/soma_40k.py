# The 40,000 iterations with SoMA's annealed weight decay (arXiv 2412.04077, section 3.3)
_base_ = './adamw_40k.py'

param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=40000, by_epoch=False),
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
