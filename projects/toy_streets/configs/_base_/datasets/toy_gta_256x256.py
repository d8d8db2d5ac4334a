# Source: the toy GTA (make_toy_streets.py data/toy)
_base_ = '../../../../../configs/_base_/datasets/sources.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[2:4] = [
    dict(
        type='RandomChoiceResize',
        scales=[int(25.6 * k) for k in range(8, 16)],
        resize_type='ResizeShortestEdge',
        max_size=1024,
    ),
    dict(type='RandomCrop', crop_size=(256, 256), cat_max_ratio=0.75),
]
train_dataloader = dict(
    num_workers=0,  # on two cores a worker only takes time from the training
    persistent_workers=False,
    pin_memory=False,
    dataset=dict({**_base_.gta, 'data_root': 'data/toy/gta'}, pipeline=train_pipeline),
)
