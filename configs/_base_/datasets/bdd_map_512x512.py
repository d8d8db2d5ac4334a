# Unseen domains: BDD100K at 1280 x 720 and Mapillary Vistas
_base_ = './citys_bdd_map_512x512.py'

val_dataloader = dict(dataset=dict(datasets=_base_.val_dataloader.dataset.datasets[1:]))
test_dataloader = val_dataloader
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale_factor=k / 4, keep_ratio=True) for k in range(3, 8)
]
