# EoMT's AdamW for ViT-L, 107 epochs of Cityscapes in batches of 16 (arXiv 2503.19108): a block's
# rate is 0.8 of the next one's; the queries warm up first, then the transformer. All decays.
_base_ = './adamw_40k.py'

vit = dict(delay=500, warmup=1000)
first = dict(vit, lr_mult=0.8**23)
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={
            'backbone': vit,
            **{f'backbone.{name}': first for name in ('cls_', 'reg_', 'pos_', 'patch_')},
            **{f'backbone.blocks.{i}.': dict(vit, lr_mult=0.8 ** (23 - i)) for i in range(24)},
        },
    )
)
param_scheduler = [dict(type='WarmupPolyLR', warmup=500, power=0.9, end=19902)]
train_cfg = dict(max_iters=19902, val_interval=3317)
default_hooks = dict(checkpoint=dict(interval=3317))
