# SGD, 30,000 iterations, learning rate in steps (PANet, 1908.06391)
_base_ = './adamw_40k.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=1e-3, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[10000, 20000], gamma=0.1, end=30000, by_epoch=False),
]
train_cfg = dict(max_iters=30000, val_interval=5000)
# The classes of a validation are those of the test: it must not choose the checkpoint.
default_hooks = dict(checkpoint=dict(interval=5000, save_best=None))
