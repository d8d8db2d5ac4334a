# Source: Cityscapes
_base_ = './crop_512x512.py'

train_dataloader = dict(batch_size=8, dataset=dict(_base_.citys, pipeline=_base_.train_pipeline))
