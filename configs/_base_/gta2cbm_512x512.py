# GTA -> Cityscapes, BDD100K, Mapillary: all of a config but its model and method
_base_ = [
    './datasets/gta_512x512.py',
    './datasets/citys_bdd_map_512x512.py',
    './schedules/adamw_40k.py',
    './default_runtime.py',
]
