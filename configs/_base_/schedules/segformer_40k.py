# SegFormer's AdamW, 40,000 iterations with a warm-up over 1,500 (arXiv 2105.15203, 2308.13331)
#
# As in their mmcv 1: the warm-up multiplies a rate that falls from the first iteration on. The ends
# are one more than there, since mmengine reaches the last value one iteration before.
_base_ = './adamw_40k.py'

# SegFormer's configs spare pos_block of decay too, but nothing in MiT is called so.
optim_wrapper = dict(
    optimizer=dict(lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        _delete_=True, norm_decay_mult=0.0, custom_keys={'decode_head': dict(lr_mult=10.0)}
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1501, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0, begin=0, end=40001, by_epoch=False),
]
train_cfg = dict(val_interval=5000)
