# RecycleLoRA, GTA -> Cityscapes, BDD100K, Mapillary, CLIP-L.
_base_ = ['../_base_/models/clip-L_mask2former.py', '../_base_/gta2cbm_512x512_recyclelora.py']
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=32, sub_rank=4)))
