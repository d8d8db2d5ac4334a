# Source: CamVid by day
_base_ = '../../../configs/_base_/datasets/camvid_364x476.py'

train_dataloader = dict(num_workers=1)
