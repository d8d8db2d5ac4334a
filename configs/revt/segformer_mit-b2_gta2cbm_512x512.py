# SegFormer, GTA -> Cityscapes, BDD100K, Mapillary.
# Published: 41.73 mIoU on Cityscapes, 38.77 on BDD100K.
_base_ = [
    '../_base_/models/segformer-b2.py',
    '../_base_/datasets/gta_revt_512x512.py',
    '../_base_/datasets/citys_bdd_map_1024x512.py',
    '../_base_/schedules/segformer_40k.py',
    '../_base_/default_runtime.py',
]
