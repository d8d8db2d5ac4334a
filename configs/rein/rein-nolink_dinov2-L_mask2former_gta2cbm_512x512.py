# Rein without queries of its tokens, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = './rein_dinov2-L_mask2former_gta2cbm_512x512.py'
model = dict(
    backbone=dict(adapter=dict(link=False)),
    decode_head=dict(type='LeanMask2FormerHead'),
)
