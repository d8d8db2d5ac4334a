# CorDA (arXiv 2406.05223): components by the inputs, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = '../lora/lora_dinov2-L_mask2former_gta2cbm_512x512.py'

model = dict(backbone=dict(adapter=dict(type='CorDA')))
