# Source: CamVid by day. Unseen domains: at dusk, on another day. Its 11 classes, 364 x 476 pixels
_base_ = ['./sources.py', './targets.py']

num_classes = 11
eleven = dict(
    classes=(
        'road',
        'sidewalk',
        'building',
        'fence',
        'pole',
        'traffic sign',
        'vegetation',
        'sky',
        'person',
        'rider',
        'car',
    )
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(476, 364), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(252, 252), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDomainInputs'),
]
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(476, 364), keep_ratio=False)
day, day2, dusk = (dict(d, metainfo=eleven, pipeline=test_pipeline) for d in _base_.val_camvid)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(_base_.camvid_day, metainfo=eleven, pipeline=train_pipeline),
)
# Validation is on days of the source: the unseen domains choose nothing
val_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[day]))
test_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[dusk, day2]))
