# Where to test: the unseen domains, as tools/convert_datasets leaves them
val_citys = dict(
    type='DomainDataset',
    domain='citys',
    data_root='data/cityscapes',
    data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
    img_suffix='_leftImg8bit.png',
    seg_map_suffix='_gtFine_labelTrainIds.png',
)
val_bdd = dict(
    type='DomainDataset',
    domain='bdd',
    data_root='data/bdd100k',
    data_prefix=dict(img_path='images/10k/val', seg_map_path='labels/sem_seg/masks/val'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
val_map = dict(
    type='DomainDataset',
    domain='map',
    data_root='data/mapillary',
    data_prefix=dict(img_path='half/val_img', seg_map_path='half/val_label'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
val_acdc = [
    dict(
        type='DomainDataset',
        domain=condition,
        data_root='data/acdc',
        data_prefix=dict(img_path=f'rgb_anon/{condition}/val', seg_map_path=f'gt/{condition}/val'),
        img_suffix='_rgb_anon.png',
        seg_map_suffix='_gt_labelTrainIds.png',
    )
    for condition in ('fog', 'night', 'rain', 'snow')
]
# What tools/visualize.py does to an image too
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackDomainInputs'),
]
bdd_pipeline = [*test_pipeline]
bdd_pipeline[1] = dict(type='Resize', scale=(1280, 720), keep_ratio=True)
# Test-time augmentation (tools/test.py --tta)
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in range(2, 8)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackDomainInputs')],
        ],
    ),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='DomainIoUMetric')
test_evaluator = val_evaluator
