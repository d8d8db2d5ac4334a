# Unseen domains: the toy Cityscapes, BDD100K and Mapillary, and ACDC's four conditions
_base_ = '../../../../../configs/_base_/datasets/targets.py'

test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(512, 256), keep_ratio=True)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                {**target, 'data_root': target['data_root'].replace('data/', 'data/toy/')},
                pipeline=test_pipeline,
            )
            for target in (_base_.val_citys, _base_.val_bdd, _base_.val_map, *_base_.val_acdc)
        ],
    ),
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in (3, 4, 5)
]
