# Unseen domain: Nighttime Driving
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_night_driving, pipeline=_base_.hd_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
