# RecycleLoRA in EoMT, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_eomt.py', '../_base_/gta2cbm_512x512_recyclelora.py']
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=32, sub_rank=4)))
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
