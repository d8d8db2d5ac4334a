# Source and target: Cityscapes, as EoMT is trained on it: images of 512 to 2048 pixels, padded
_base_ = ['./sources.py', './targets.py']

train_pipeline = [*_base_.train_pipeline]
train_pipeline[2:4] = [
    dict(type='RandomResize', scale=(1024, 1024), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(1024, 1024)),
]
train_dataloader = dict(batch_size=16, dataset=dict(_base_.citys, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset', datasets=[dict(_base_.val_citys, pipeline=_base_.test_pipeline)]
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
