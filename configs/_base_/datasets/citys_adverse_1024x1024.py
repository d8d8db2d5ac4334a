# Source: Cityscapes, for tests in adverse conditions, in crops of 1024 x 1024
_base_ = './citys_adverse_512x512.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[3] = dict(type='RandomCrop', crop_size=(1024, 1024), cat_max_ratio=0.75)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
