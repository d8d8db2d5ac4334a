# RecycleLoRA, GTA -> Cityscapes, BDD100K, Mapillary, EVA-02-L. Published: 66.35 mIoU on
# average.
_base_ = ['../_base_/models/eva02-L_mask2former.py', '../_base_/gta2cbm_512x512_recyclelora.py']
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=32, sub_rank=4)))
