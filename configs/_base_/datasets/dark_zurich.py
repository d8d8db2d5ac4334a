# Unseen domain: Dark Zurich's validation images of the night
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_dark_zurich, pipeline=_base_.hd_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
