# 300 images of urbansyn
_base_ = '../_base_/datasets/toy_gta_256x256.py'

data = {**_base_.urbansyn, 'data_root': 'data/toy_study/urbansyn', 'serialize_data': False}
train_dataloader = dict(dataset=dict(data, indices=300))
