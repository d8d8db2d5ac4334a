# SoMA, GTA + Synthia -> Cityscapes, BDD100K, Mapillary. Published: 69.26 mIoU on average.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/gta_synthia_512x512.py',
    '../_base_/datasets/citys_bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k_annealed.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
