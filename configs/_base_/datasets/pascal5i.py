# PASCAL-5i: masks of VOC 2012 and SBD, as docs/user_guides/few_shot.md puts them together; 20
# classes in four folds (protocol of PFENet, 2008.01449)
fold = 0  # --cfg-options fold=2
shots = 1
episode_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(417, 417), keep_ratio=False),  # as PANet, 1908.06391
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDomainInputs'),
]
# The labels of a query are those of its file, which predictions are enlarged to.
query_pipeline = [episode_pipeline[i] for i in (0, 2, 1, 4)]
support_pipeline = [episode_pipeline[i] for i in (0, 1, 2, 4)]
voc = dict(
    type='PascalMaskDataset',
    domain='voc',
    data_root='data/VOCdevkit/VOC2012',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='EpisodeDataset',
        split='base',
        fold=fold,
        folds='blocks',
        shots=shots,
        episodes=1000000,  # more than are ever drawn
        dataset=dict(
            voc, ann_file='ImageSets/Segmentation/trainaug.txt', pipeline=episode_pipeline
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='EpisodeDataset',
        split='novel',
        fold=fold,
        folds='blocks',
        shots=shots,
        episodes=1000,
        dataset=dict(voc, ann_file='ImageSets/Segmentation/val.txt', pipeline=query_pipeline),
        support_pipeline=support_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='EpisodeIoUMetric')
test_evaluator = val_evaluator
