# The last four blocks are trainable, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=20))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
