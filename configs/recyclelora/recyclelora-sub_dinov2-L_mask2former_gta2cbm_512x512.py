# RecycleLoRA's sub adapter, GTA -> Cityscapes, BDD100K, Mapillary.
# Published: 67.44 mIoU on average.
_base_ = ['../_base_/models/dinov2-L_mask2former.py', '../_base_/gta2cbm_512x512_recyclelora.py']
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=0, sub_rank=4)))
