# Rein, Cityscapes -> ACDC.
_base_ = [
    '../_base_/models/dinov2-L_mask2former.py',
    '../_base_/datasets/citys_512x512.py',
    '../_base_/datasets/acdc_rein_512x512.py',
    '../_base_/schedules/adamw_40k_rein.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(adapter=dict(type='Rein', rank=16, link=True)),
    decode_head=dict(type='ReinMask2FormerHead'),
)
train_dataloader = dict(batch_size=4)
