# Unseen domains: Cityscapes and Mapillary Vistas at 1024 x 512, BDD100K at 1280 x 720, as in
# Rein's release at crops of 512; SoMA's has 2048 x 1024 (citys_bdd_map_512x512.py)
_base_ = './targets.py'

test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(1024, 512), keep_ratio=True)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(_base_.val_citys, pipeline=test_pipeline),
            dict(_base_.val_bdd, pipeline=_base_.bdd_pipeline),
            dict(_base_.val_map, pipeline=test_pipeline),
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
