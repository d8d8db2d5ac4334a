# Rein in EoMT, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_eomt.py', '../_base_/gta2cbm_512x512_rein.py']
model = dict(backbone=dict(adapter=dict(type='Rein', rank=16)))
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
