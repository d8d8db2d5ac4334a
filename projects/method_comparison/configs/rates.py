# The part of the day by which learning rates are chosen: no unseen domain is looked at
_base_ = './splits.py'

test_dataloader = dict(num_workers=1, dataset=dict(datasets=[_base_.held_out]))
test_evaluator = dict(mean_over=['held_out'])
