# Source: CamVid by day, without the parts that are held out
_base_ = './splits.py'

train_dataloader = dict(num_workers=1, dataset=dict(indices=_base_.for_training))
