# 800 iterations on a CPU, for the small detectors
_base_ = '../../../../../configs/_base_/schedules/adamw_det_40k.py'

optim_wrapper = dict(
    optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1), paramwise_cfg=dict(norm_decay_mult=0.0)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=50, end=800, by_epoch=False),
]
train_cfg = dict(max_iters=800, val_interval=800)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(interval=800, max_keep_ckpts=1, save_best=None, rule=None),
)
