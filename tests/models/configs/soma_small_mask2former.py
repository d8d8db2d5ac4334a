# SoMA on the small ViT with the small Mask2Former, without data
_base_ = [
    './small_mask2former.py',
    '../../../configs/_base_/schedules/adamw_40k.py',
    '../../../configs/_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=8, start_block=2)))
