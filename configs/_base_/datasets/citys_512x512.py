# Source: Cityscapes
_base_ = './sources.py'

train_dataloader = dict(batch_size=8, dataset=dict(_base_.citys, pipeline=_base_.train_pipeline))
