# Full fine-tuning with PixMix in the place of PhotoMetricDistortion, for ReVT's average
_base_ = '../../../configs/camvid/full_dinov2-S_linear_camvid-day2dusk_364x476.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[5] = dict(type='PixMix', mixing_set='data/fractals')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
