# 300 iterations on a CPU, for episodes
_base_ = '../../../../../configs/_base_/schedules/adamw_40k.py'

optim_wrapper = dict(optimizer=dict(lr=1e-2), paramwise_cfg=dict(_delete_=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=30, end=300, by_epoch=False),
]
train_cfg = dict(max_iters=300, val_interval=300)
default_hooks = dict(
    logger=dict(interval=50), checkpoint=dict(interval=300, max_keep_ckpts=1, save_best=None)
)
