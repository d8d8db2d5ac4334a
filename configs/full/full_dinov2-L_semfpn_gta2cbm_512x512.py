# Full fine-tuning, GTA -> Cityscapes, BDD100K, Mapillary, with SemFPN.
_base_ = [
    '../_base_/models/dinov2-L_semfpn.py',
    '../_base_/datasets/gta_512x512.py',
    '../_base_/datasets/citys_bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.01)}))
