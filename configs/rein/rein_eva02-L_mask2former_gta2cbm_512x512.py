# Rein, GTA -> Cityscapes, BDD100K, Mapillary, EVA-02-L.
# Published: 63.6 mIoU on average.
_base_ = ['../_base_/models/eva02-L_mask2former.py', '../_base_/gta2cbm_512x512_rein.py']
model = dict(
    backbone=dict(adapter=dict(type='Rein', rank=16, link=True)),
    decode_head=dict(type='ReinMask2FormerHead'),
)
