# Source: GTA V
_base_ = './crop_512x512.py'

train_dataloader = dict(dataset=dict(_base_.gta, pipeline=_base_.train_pipeline))
