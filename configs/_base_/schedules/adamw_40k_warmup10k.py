# The 40,000 iterations with a linear warm-up over 10,000
_base_ = './adamw_40k.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=10000, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=10000, end=40000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=8))
