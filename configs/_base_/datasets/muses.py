# Unseen domain: MUSES' validation images, by day and night in all weathers
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_muses, pipeline=_base_.hd_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
