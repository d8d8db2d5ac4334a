# OSF (arXiv 2504.07097), the minor half, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = '../lora/lora_dinov2-L_mask2former_gta2cbm_512x512.py'

model = dict(backbone=dict(adapter=dict(_delete_=True, type='OSF')))
