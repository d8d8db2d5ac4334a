# Source: one sixteenth of Cityscapes; tools/convert_datasets/cityscapes.py --subset 1/16 lists it
_base_ = './crop_1024x1024.py'

train_dataloader = dict(
    dataset=dict(_base_.citys, ann_file='train_1_16_v1.txt', pipeline=_base_.train_pipeline)
)
