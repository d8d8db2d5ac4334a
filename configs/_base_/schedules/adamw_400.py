# AdamW, 400 iterations with a warm-up over 40: minutes on a CPU
_base_ = './adamw_40k.py'

optim_wrapper = dict(
    optimizer=dict(lr=1e-2), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.05)})
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=40, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=40, end=400, by_epoch=False),
]
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(
    checkpoint=dict(interval=400, max_keep_ckpts=1),
    logger=dict(interval=20),
)
