# GTA -> Cityscapes, BDD100K, Mapillary, trained as RecycleLoRA
_base_ = [
    './datasets/gta_512x512.py',
    './datasets/citys_bdd_map_512x512.py',
    './schedules/adamw_40k_recyclelora.py',
    './default_runtime.py',
]
