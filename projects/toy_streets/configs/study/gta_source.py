# 300 images of gta
_base_ = '../_base_/datasets/toy_gta_256x256.py'

data = {**_base_.gta, 'data_root': 'data/toy_study/gta', 'serialize_data': False}
train_dataloader = dict(dataset=dict(data, indices=300))
