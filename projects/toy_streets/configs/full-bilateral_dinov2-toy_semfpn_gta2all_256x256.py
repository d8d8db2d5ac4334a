# Full fine-tuning with the bilateral filter on half of the images, GTA -> all others
_base_ = './full_dinov2-toy_semfpn_gta2all_256x256.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline.insert(4, dict(type='BilateralFilter'))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
