# Full fine-tuning with the bilateral filter on half of the images, for ReVT's average
_base_ = '../../../configs/camvid/full_dinov2-S_linear_camvid-day2dusk_364x476.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline.insert(4, dict(type='BilateralFilter'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
