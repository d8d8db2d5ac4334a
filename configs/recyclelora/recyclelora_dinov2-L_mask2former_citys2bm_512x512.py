# RecycleLoRA, Cityscapes -> BDD100K, Mapillary. Published: 72.10 mIoU on average.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/citys_512x512.py',
    '../_base_/datasets/bdd_map_512x512.py',
    '../_base_/schedules/adamw_40k_recyclelora.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='RecycleLoRA', rank=32, sub_rank=2)))
train_dataloader = dict(batch_size=4)
