# SoMA, CamVid by day -> at dusk, DINOv2-S, whose public file is downloaded.
_base_ = [
    '../_base_/models/dinov2-S_mask2former.py',
    '../_base_/datasets/camvid_day2dusk.py',
    '../_base_/schedules/adamw_4k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        adapter=dict(type='SoMA', rank=16, start_block=4),
        init_cfg=dict(checkpoint='dinov2_vits14'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    *_base_.param_scheduler,
    dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, begin=0, end=4000, by_epoch=False),
]
