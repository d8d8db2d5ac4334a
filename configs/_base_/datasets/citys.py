# Unseen domain: Cityscapes' validation images, as Cityscapes-C corrupts them (--corruptions)
_base_ = './targets.py'

val_dataloader = dict(dataset=dict(_base_.val_citys, pipeline=_base_.test_pipeline))
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
