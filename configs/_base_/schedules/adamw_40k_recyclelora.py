# The 40,000 iterations for RecycleLoRA: the main adapter learns as the head does
_base_ = './adamw_40k_annealed.py'

optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=1.0)}))
