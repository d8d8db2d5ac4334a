# Source: Cityscapes, for tests in adverse conditions: larger scales, 4 GPUs with 2 pictures each
_base_ = './sources.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomChoiceResize',
        scales=[int(102.4 * k) for k in range(5, 21)],
        resize_type='ResizeShortestEdge',
        max_size=4096,
    ),
    dict(type='RandomCrop', crop_size=(1024, 1024), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDomainInputs'),
]
train_dataloader = dict(batch_size=2, dataset=dict(_base_.citys, pipeline=train_pipeline))
