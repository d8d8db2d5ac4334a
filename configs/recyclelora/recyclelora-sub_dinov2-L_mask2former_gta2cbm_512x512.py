# RecycleLoRA's sub adapter, GTA -> Cityscapes, BDD100K, Mapillary. Published: 67.44 mIoU (mean).
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k_recyclelora.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=0, sub_rank=4)))
