# Full fine-tuning in EoMT, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_eomt.py', '../_base_/gta2cbm_512x512.py']
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
