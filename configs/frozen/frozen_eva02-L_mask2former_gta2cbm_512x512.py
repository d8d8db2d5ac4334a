# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary, EVA-02-L.
# Published: 56.5, 53.6, 58.6 mIoU.
_base_ = ['../_base_/models/eva02-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=24))
