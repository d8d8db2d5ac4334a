# SoMA, GTA -> Cityscapes, BDD100K, Mapillary, with SemFPN.
_base_ = ['../_base_/models/dinov2-L_semfpn.py', '../_base_/gta2cbm_512x512_soma.py']
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
