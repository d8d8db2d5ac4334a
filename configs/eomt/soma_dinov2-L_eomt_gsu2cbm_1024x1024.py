# SoMA in EoMT, GTA + Synthia + UrbanSyn -> Cityscapes, BDD100K, Mapillary.
_base_ = [
    '../_base_/models/dinov2-L_eomt_1024x1024.py',
    '../_base_/datasets/gta_synthia_urbansyn_1024x1024.py',
    '../_base_/datasets/citys_bdd_map_1024x1024.py',
    '../_base_/schedules/adamw_40k_annealed.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='TrainableEMAHook', begin_iter=16000),
    dict(type='MaskAnnealingHook'),
]
