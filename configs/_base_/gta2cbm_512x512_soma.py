# GTA -> Cityscapes, BDD100K, Mapillary, trained as SoMA: weight decay falls, weights are averaged
_base_ = [
    './datasets/gta_512x512.py',
    './datasets/citys_bdd_map_512x512.py',
    './schedules/adamw_40k_annealed.py',
    './default_runtime.py',
]
custom_hooks = [*_base_.custom_hooks, dict(type='TrainableEMAHook', begin_iter=12000)]
