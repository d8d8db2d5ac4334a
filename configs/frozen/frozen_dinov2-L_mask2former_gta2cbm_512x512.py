# Frozen backbone, GTA -> Cityscapes, BDD100K, Mapillary. Published: 61.1 mIoU on average.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(frozen_blocks=24))
train_cfg = dict(val_interval=10000)
default_hooks = dict(checkpoint=dict(interval=10000, max_keep_ckpts=4))
