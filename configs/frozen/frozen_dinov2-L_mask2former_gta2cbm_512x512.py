# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary. Published: 61.1 mIoU on average.
_base_ = ['../_base_/models/dinov2-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=24))
train_cfg = dict(val_interval=10000)
default_hooks = dict(checkpoint=dict(interval=10000, max_keep_ckpts=4))
