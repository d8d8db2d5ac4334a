# Full fine-tuning, Cityscapes -> ACDC; 4 GPUs.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/citys_adverse_512x512.py',
    '../_base_/datasets/acdc.py',
    '../_base_/schedules/adamw_40k_warmup10k.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
