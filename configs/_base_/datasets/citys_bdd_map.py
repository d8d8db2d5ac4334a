# Unseen domains: Cityscapes, BDD100K and Mapillary Vistas
meta_keys = (
    'img_path',
    'seg_map_path',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
    'domain',
)
large_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
small_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1280, 720), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs', meta_keys=meta_keys),
]
val_citys = dict(
    type='DomainDataset',
    domain='citys',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
    pipeline=large_pipeline,
)
val_bdd = dict(
    type='DomainDataset',
    domain='bdd',
    data_root='data/bdd100k',
    data_prefix=dict(img_path='images/10k/val', seg_map_path='labels/sem_seg/masks/val'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    pipeline=small_pipeline,
)
val_map = dict(
    type='DomainDataset',
    domain='map',
    data_root='data/mapillary',
    data_prefix=dict(img_path='half/val_img', seg_map_path='half/val_label'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    pipeline=large_pipeline,
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=[val_citys, val_bdd, val_map]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='DomainIoUMetric')
test_evaluator = val_evaluator
# What tools/visualize.py does to a picture, and test-time augmentation (tools/test.py --tta)
test_pipeline = large_pipeline
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in range(2, 8)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs', meta_keys=meta_keys)],
        ],
    ),
]
