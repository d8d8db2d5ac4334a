# Full fine-tuning, GTA -> Cityscapes, BDD100K, Mapillary, with SemFPN.
_base_ = ['../_base_/models/dinov2-L_semfpn.py', '../_base_/gta2cbm_512x512.py']
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
