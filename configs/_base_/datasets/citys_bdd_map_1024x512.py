# Unseen domains: Cityscapes, BDD100K and Mapillary Vistas within 1024 x 512, as ReVT tests them
_base_ = './targets.py'

test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(1024, 512), keep_ratio=True)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(target, pipeline=test_pipeline)
            for target in (_base_.val_citys, _base_.val_bdd, _base_.val_map)
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
