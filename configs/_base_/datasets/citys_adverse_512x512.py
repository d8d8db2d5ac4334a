# Source: Cityscapes, for tests in adverse conditions: larger scales, 4 GPUs with 2 images each
_base_ = './sources.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(
    type='RandomChoiceResize',
    scales=[int(102.4 * k) for k in range(5, 21)],
    resize_type='ResizeShortestEdge',
    max_size=4096,
)
train_dataloader = dict(batch_size=2, dataset=dict(_base_.citys, pipeline=train_pipeline))
