# SoMA in EoMT, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_eomt.py', '../_base_/gta2cbm_512x512_soma.py']
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
