# 700 iterations on a CPU, for the small models
_base_ = '../../../../../configs/_base_/schedules/adamw_40k.py'

optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=50, end=700, by_epoch=False),
]
train_cfg = dict(max_iters=700, val_interval=700)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=700, max_keep_ckpts=1, save_best=None)
)
