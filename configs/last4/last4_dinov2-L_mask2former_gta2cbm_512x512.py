# The last four blocks are trainable, GTA -> Cityscapes, BDD100K, Mapillary.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(frozen_blocks=20))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
