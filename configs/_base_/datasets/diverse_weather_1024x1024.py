# Source: Daytime-Clear; tested on all five domains of Diverse Weather (Single-DGOD)
_base_ = './boxes_1024x1024.py'

folders = dict(
    DC='daytime_clear',
    NC='Night-Sunny',
    DR='dusk_rainy',
    NR='night_rainy',
    DF='daytime_foggy',
)
weather = {
    domain: dict(
        type='DomainVOCDataset',
        domain=domain,
        data_root=f'data/diverseWeather/{folder}',
        # the lists of the unseen domains are called train, and are to test on
        ann_file=f'VOC2007/ImageSets/Main/{"test" if domain == "DC" else "train"}.txt',
        data_prefix=dict(sub_data_root='VOC2007'),
    )
    for domain, folder in folders.items()
}
train_dataloader = dict(
    dataset=dict(
        {**weather['DC'], 'ann_file': 'VOC2007/ImageSets/Main/train.txt'},
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(**dataset, test_mode=True, pipeline=_base_.test_pipeline)
            for dataset in weather.values()
        ],
    ),
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
val_evaluator = dict(mean_over=['NC', 'DR', 'NR', 'DF'])
test_evaluator = val_evaluator
