# Full fine-tuning, GTA -> Cityscapes, BDD100K, Mapillary, EVA-02-L.
_base_ = ['../_base_/models/eva02-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
