# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary, CLIP-L.
# Published: 53.7, 48.7, 55.0 mIoU.
_base_ = ['../_base_/models/clip-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=24))
