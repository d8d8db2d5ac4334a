# The 40,000 iterations for RecycleLoRA: one learning rate, annealed weight decay
_base_ = './adamw_40k.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=1.0)}))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
