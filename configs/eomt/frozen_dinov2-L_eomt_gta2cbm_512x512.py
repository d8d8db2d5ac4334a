# Frozen backbone in EoMT, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = ['../_base_/models/dinov2-L_eomt.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=24))
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
