# Unseen domain: the validation images of the India Driving Dataset
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_idd, pipeline=_base_.hd_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
