# SegFormer, Synthia -> Cityscapes, BDD100K, Mapillary.
# Published: 45.07 mIoU on Cityscapes, 35.19 on BDD100K.
_base_ = [
    '../_base_/models/segformer-b5.py',
    '../_base_/datasets/synthia_revt_512x512.py',
    '../_base_/datasets/citys_bdd_map_1024x512.py',
    '../_base_/schedules/segformer_40k.py',
    '../_base_/default_runtime.py',
]
train_cfg = dict(val_interval=10000)
