# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary, with SemFPN.
_base_ = ['../_base_/models/dinov2-L_semfpn.py', '../_base_/gta2cbm_512x512.py']
model = dict(backbone=dict(frozen_blocks=24))
