# Frozen backbone on the toy streets, GTA -> all others
_base_ = [
    './_base_/models/dinov2-toy_mask2former.py',
    './_base_/datasets/toy_gta_256x256.py',
    './_base_/datasets/toy_domains.py',
    './_base_/schedules/toy.py',
    '../../../configs/_base_/default_runtime.py',
]
model = dict(backbone=dict(frozen_blocks=6))
