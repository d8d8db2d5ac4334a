# Source: Cityscapes, for tests in adverse conditions, in crops of 512 x 512
_base_ = './citys_adverse_1024x1024.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[3] = dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
