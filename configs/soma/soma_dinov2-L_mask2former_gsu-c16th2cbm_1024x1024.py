# SoMA, GTA + Synthia + UrbanSyn, then 1/16 of Cityscapes -> Cityscapes, BDD100K, Mapillary.
# Published: 75.50 mIoU on average.
_base_ = [
    '../_base_/models/dinov2-L_mask2former_1024x1024.py',
    '../_base_/datasets/citys_1-16_1024x1024.py',
    '../_base_/datasets/citys_bdd_map_1024x1024.py',
    '../_base_/schedules/adamw_4k.py',
    '../_base_/default_runtime.py',
]
load_from = 'work_dirs/soma_dinov2-L_mask2former_gsu2cbm_1024x1024/best_*.pth'
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=4000, by_epoch=False),
]
