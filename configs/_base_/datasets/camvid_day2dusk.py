# Source: drives of CamVid by day. Unseen domain: its drive at dusk. 480 x 360 pixels, enlarged
_base_ = ['./sources.py', './targets.py']

dusk_pipeline = [*_base_.test_pipeline]
dusk_pipeline[1] = dict(type='Resize', scale=(960, 720), keep_ratio=True)
train_dataloader = dict(dataset=dict(_base_.camvid_day, pipeline=_base_.train_pipeline))
dusk = dict(_base_.val_camvid_dusk, pipeline=dusk_pipeline)
val_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[dusk]))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
