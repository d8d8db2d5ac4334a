# Source: GTA V
_base_ = './sources.py'

train_dataloader = dict(dataset=dict(_base_.gta, pipeline=_base_.train_pipeline))
