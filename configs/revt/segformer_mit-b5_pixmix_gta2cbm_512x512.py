# SegFormer with PixMix, GTA -> Cityscapes, BDD100K, Mapillary
_base_ = './segformer_mit-b5_gta2cbm_512x512.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.b5_pixmix_pipeline))
