# LoRA (arXiv 2106.09685), GTA -> Cityscapes, BDD100K, Mapillary. Published: 62.7 mIoU on average.
_base_ = ['../_base_/models/dinov2-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(adapter=dict(type='LoRA', rank=16)))
