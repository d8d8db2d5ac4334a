# Unseen domains: Cityscapes, BDD100K and Mapillary Vistas, BDD100K at 1280 x 720
_base_ = './targets.py'

val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(_base_.val_citys, pipeline=_base_.test_pipeline),
            dict(_base_.val_bdd, pipeline=_base_.bdd_pipeline),
            dict(_base_.val_map, pipeline=_base_.test_pipeline),
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
