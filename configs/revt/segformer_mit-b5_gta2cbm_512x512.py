# SegFormer, GTA -> Cityscapes, BDD100K, Mapillary.
# Published: 45.31 mIoU on Cityscapes, 43.32 on BDD100K.
_base_ = [
    '../_base_/models/segformer-b5.py',
    '../_base_/datasets/gta_revt_512x512.py',
    '../_base_/datasets/citys_bdd_map_1024x512.py',
    '../_base_/schedules/segformer_40k.py',
    '../_base_/default_runtime.py',
]
train_cfg = dict(val_interval=10000)
