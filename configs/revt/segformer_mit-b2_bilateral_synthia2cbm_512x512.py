# SegFormer with the bilateral filter, Synthia -> Cityscapes, BDD100K, Mapillary
_base_ = './segformer_mit-b2_synthia2cbm_512x512.py'

train_dataloader = dict(dataset=dict(pipeline=_base_.small_bilateral_pipeline))
