# SegFormer, GTA -> Cityscapes, BDD100K, Mapillary.
# Published: 43.92 mIoU on Cityscapes, 42.96 on BDD100K.
_base_ = [
    '../_base_/models/segformer-b3.py',
    '../_base_/datasets/gta_revt_512x512.py',
    '../_base_/datasets/citys_bdd_map_1024x512.py',
    '../_base_/schedules/segformer_40k.py',
    '../_base_/default_runtime.py',
]
