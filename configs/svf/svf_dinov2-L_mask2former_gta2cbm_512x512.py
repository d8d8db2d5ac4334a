# SVF (arXiv 2206.06122), trainable singular values in the later blocks.
# GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_mask2former.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(adapter=dict(type='SVF', start_block=8)))
