# Unseen domains: CamVid by day, on another day and at dusk. 480 x 360 pixels, enlarged; 19 classes
_base_ = './targets.py'

large = [*_base_.test_pipeline]
large[1] = dict(type='Resize', scale=(960, 720), keep_ratio=True)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[dict(data, pipeline=large) for data in _base_.val_camvid],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
