# Unseen domains: the toy Cityscapes, BDD100K and Mapillary, and ACDC's four conditions
meta_keys = ('img_path', 'ori_shape', 'img_shape', 'flip', 'flip_direction', 'domain')
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 256), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in (3, 4, 5)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs', meta_keys=meta_keys)],
        ],
    ),
]
cityscapes = dict(
    data_root='data/toy/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
)
bdd100k = dict(
    data_root='data/toy/bdd100k',
    data_prefix=dict(img_path='images/10k/val', seg_map_path='labels/sem_seg/masks/val'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
mapillary = dict(
    data_root='data/toy/mapillary',
    data_prefix=dict(img_path='half/val_img', seg_map_path='half/val_label'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
acdc = dict(
    data_root='data/toy/acdc',
    img_suffix='_rgb_anon.png',
    seg_map_suffix='_gt_labelTrainIds.png',
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(type='DomainDataset', domain='citys', pipeline=test_pipeline, **cityscapes),
            dict(type='DomainDataset', domain='bdd', pipeline=test_pipeline, **bdd100k),
            dict(type='DomainDataset', domain='map', pipeline=test_pipeline, **mapillary),
            *(
                dict(
                    type='DomainDataset',
                    domain=name,
                    data_prefix=dict(
                        img_path=f'rgb_anon/{name}/val', seg_map_path=f'gt/{name}/val'
                    ),
                    pipeline=test_pipeline,
                    **acdc,
                )
                for name in ('fog', 'night', 'rain', 'snow')
            ),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='DomainIoUMetric')
test_evaluator = val_evaluator
