# Frozen backbone, Cityscapes -> BDD100K, Mapillary.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/citys_512x512.py',
    '../_base_/datasets/bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k_warmup1500.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(frozen_blocks=24))
