# 300 images of synthia
_base_ = '../_base_/datasets/toy_gta_256x256.py'

data = {**_base_.synthia, 'data_root': 'data/toy_study/synthia', 'serialize_data': False}
train_dataloader = dict(dataset=dict(data, indices=300))
