# Full fine-tuning with the bilateral filter and then PixMix, GTA -> all others
_base_ = '../full-pixmix_dinov2-toy_semfpn_gta2all_256x256.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline.insert(5, dict(type='BilateralFilter'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
