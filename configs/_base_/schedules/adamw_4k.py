# 4,000 iterations at a tenth of the learning rate, from a trained model
_base_ = './adamw_40k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=4000, by_epoch=False),
]
train_cfg = dict(max_iters=4000, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=400, max_keep_ckpts=7))
