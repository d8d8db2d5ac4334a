# Unseen domains: Cityscapes, BDD100K and Mapillary Vistas, all at 2048 x 1024
_base_ = './targets.py'

val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(target, pipeline=_base_.test_pipeline)
            for target in (_base_.val_citys, _base_.val_bdd, _base_.val_map)
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
