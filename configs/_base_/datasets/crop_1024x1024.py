# Crops of 1024 x 1024 from half to twice the size of Cityscapes
_base_ = './sources.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[2:4] = [
    dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024), cat_max_ratio=0.75),
]
