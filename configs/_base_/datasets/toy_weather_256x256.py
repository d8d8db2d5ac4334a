# The toy Diverse Weather (tools/make_toy_streets.py data/toy_weather --task detection)
_base_ = './diverse_weather_1024x1024.py'

toy_weather = {
    domain: {**dataset, 'data_root': dataset['data_root'].replace('data/', 'data/toy_weather/')}
    for domain, dataset in _base_.weather.items()
}
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2] = dict(
    type='RandomResize', scale=(512, 256), ratio_range=(0.8, 1.6), keep_ratio=True
)
train_pipeline[3] = dict(_base_.train_pipeline[3], crop_type='absolute', crop_size=(256, 256))
train_pipeline[6] = dict(type='Pad', size=(256, 256), pad_val=dict(img=(114, 114, 114)))
test_pipeline = [*_base_.test_pipeline]
test_pipeline[1:3] = [dict(type='Resize', scale=(512, 256), keep_ratio=True)]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,  # on two cores a worker only takes time from the training
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(
        {**toy_weather['DC'], 'ann_file': 'VOC2007/ImageSets/Main/train.txt'},
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        datasets=[
            dict(**dataset, test_mode=True, pipeline=test_pipeline)
            for dataset in toy_weather.values()
        ],
    ),
)
test_dataloader = val_dataloader
