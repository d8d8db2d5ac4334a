# The 40,000 iterations of Co-DETR with SoMA, as in its release
_base_ = './adamw_det_40k.py'

default_hooks = dict(checkpoint=dict(max_keep_ckpts=8))
no_decay = dict(decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys=dict(query_embed=no_decay, level_embed=no_decay)
    )
)
warm_up, steps = _base_.param_scheduler
param_scheduler = [
    warm_up,
    dict(steps, begin=1500),  # counts from there: drops at 25,500 and 33,500
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=40000, by_epoch=False),
]
