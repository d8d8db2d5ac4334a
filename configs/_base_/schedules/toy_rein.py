# The 700 iterations for Rein: no decay of tokens and scale
_base_ = './toy.py'

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'learnable_tokens': dict(decay_mult=0.0), 'reins.scale': dict(decay_mult=0.0)}
    )
)
