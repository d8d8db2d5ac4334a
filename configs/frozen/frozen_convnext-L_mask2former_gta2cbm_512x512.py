# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary, ConvNeXt-L.
_base_ = ['../_base_/models/convnext-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen=True))
