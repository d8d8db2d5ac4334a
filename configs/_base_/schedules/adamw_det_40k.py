# AdamW for detectors, 40,000 iterations, learning rate in steps
_base_ = './adamw_40k.py'

optim_wrapper = dict(
    optimizer=dict(lr=2e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys={'backbone': dict(lr_mult=0.5, decay_mult=0.2)}),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=1500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[24000, 32000], gamma=0.1, end=40000, by_epoch=False),
]
default_hooks = dict(
    checkpoint=dict(save_best='mean_mAP', rule='greater'),
    visualization=dict(type='DetVisualizationHook'),
)
