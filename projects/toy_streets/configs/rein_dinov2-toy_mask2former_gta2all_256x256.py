# Rein on the toy streets, GTA -> all others
_base_ = [
    './_base_/models/dinov2-toy_mask2former.py',
    './_base_/datasets/toy_gta_256x256.py',
    './_base_/datasets/toy_domains.py',
    './_base_/schedules/toy.py',
    '../../../configs/_base_/default_runtime.py',
]
model = dict(
    backbone=dict(adapter=dict(type='Rein', num_tokens=40, rank=8, query_dims=64, link=True)),
    decode_head=dict(type='ReinMask2FormerHead'),
)
