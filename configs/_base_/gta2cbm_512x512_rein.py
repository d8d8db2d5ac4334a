# GTA -> Cityscapes, BDD100K, Mapillary, trained and tested as Rein
_base_ = [
    './datasets/gta_512x512.py',
    './datasets/citys_bdd_map_rein_512x512.py',
    './schedules/adamw_40k_rein.py',
    './default_runtime.py',
]
