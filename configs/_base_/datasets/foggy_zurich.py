# Unseen domain: Foggy Zurich, the 40 images of its second test set
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_foggy_zurich, pipeline=_base_.hd_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
