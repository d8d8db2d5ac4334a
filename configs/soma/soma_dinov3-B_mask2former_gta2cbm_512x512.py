# SoMA, GTA -> Cityscapes, BDD100K, Mapillary, DINOv3-B.
_base_ = ['../_base_/models/dinov3-B_mask2former.py', '../_base_/gta2cbm_512x512_soma.py']
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=4)))
