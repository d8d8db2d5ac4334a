# Full fine-tuning with PixMix in the place of PhotoMetricDistortion, GTA -> all others
_base_ = './full_dinov2-toy_semfpn_gta2all_256x256.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline[5] = dict(type='PixMix', mixing_set='data/fractals')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
