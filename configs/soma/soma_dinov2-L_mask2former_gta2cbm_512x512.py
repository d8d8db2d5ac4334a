# SoMA, GTA -> Cityscapes, BDD100K, Mapillary. Published: 68.27 mIoU on average.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map.py',
    '../_base_/schedules/soma_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
custom_hooks = [
    dict(type='BlockFreezeHook'),
    dict(type='WeightDecayLoggerHook'),
    dict(type='TrainableEMAHook', begin_iter=12000),
]
