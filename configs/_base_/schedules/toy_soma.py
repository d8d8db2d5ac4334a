# The 700 iterations with SoMA's annealed weight decay
_base_ = './toy.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=50, end=700, by_epoch=False),
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=700, by_epoch=False),
]
