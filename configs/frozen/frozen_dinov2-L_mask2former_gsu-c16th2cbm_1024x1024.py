# Frozen backbone, GTA + Synthia + UrbanSyn, then 1/16 of Cityscapes -> Cityscapes, BDD100K,
# Mapillary.
_base_ = [
    '../_base_/models/dinov2-L_mask2former_1024x1024.py',
    '../_base_/datasets/citys_1-16_1024x1024.py',
    '../_base_/datasets/citys_bdd_map_1024x1024.py',
    '../_base_/schedules/adamw_4k.py',
    '../_base_/default_runtime.py',
]
load_from = 'work_dirs/frozen_dinov2-L_mask2former_gsu2cbm_1024x1024/best_*.pth'
model = dict(backbone=dict(frozen_blocks=24))
