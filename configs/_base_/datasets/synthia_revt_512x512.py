# Source: Synthia, augmented as in ReVT
_base_ = './revt_512x512.py'

train_dataloader = dict(dataset=dict(_base_.synthia, pipeline=_base_.train_pipeline))
