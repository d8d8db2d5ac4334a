# The 40,000 iterations for Rein: one learning rate for all
_base_ = './adamw_40k.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=1.0)}))
train_cfg = dict(val_interval=10000)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
