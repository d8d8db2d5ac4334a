# The 40,000 iterations with a linear warm-up over 1,500
_base_ = './adamw_40k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=1500, end=40000, by_epoch=False),
]
