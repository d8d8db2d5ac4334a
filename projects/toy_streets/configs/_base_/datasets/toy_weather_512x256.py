# The toy Diverse Weather (make_toy_streets.py data/toy_weather --task detection)
_base_ = '../../../../../configs/_base_/datasets/diverse_weather_1024x1024.py'

toy_weather = {
    domain: {**dataset, 'data_root': dataset['data_root'].replace('data/', 'data/toy_weather/')}
    for domain, dataset in _base_.weather.items()
}
train_pipeline = [*_base_.train_pipeline]
train_pipeline[2:5] = [
    dict(type='RandomResize', scale=(512, 256), ratio_range=(0.9, 1.4), keep_ratio=True),
    dict(_base_.train_pipeline[3], crop_type='absolute', crop_size=(512, 256)),
    dict(_base_.train_pipeline[4], min_gt_bbox_wh=(8, 8)),
]
train_pipeline[6] = dict(type='Pad', size=(512, 256), pad_val=dict(img=(114, 114, 114)))
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
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(512 * k // 4, 256 * k // 4), keep_ratio=True) for k in (4, 5)
]
