# SegFormer with PixMix after the bilateral filter, Synthia -> Cityscapes, BDD100K, Mapillary
_base_ = './segformer_mit-b5_synthia2cbm_512x512.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.pixmix_bilateral_pipeline))
train_cfg = dict(val_interval=5000)
