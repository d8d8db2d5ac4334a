# Unseen domains: BDD100K at 1280 x 720 and Mapillary Vistas
_base_ = './targets.py'

val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(_base_.val_bdd, pipeline=_base_.bdd_pipeline),
            dict(_base_.val_map, pipeline=_base_.test_pipeline),
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in range(3, 8)
]
