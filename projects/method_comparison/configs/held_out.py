# The day's held-out images alone, by which learning rates are chosen: no unseen domain is looked at
_base_ = './unseen.py'

test_dataloader = dict(dataset=dict(datasets=[dict(_base_.day, domain='held_out')]))
test_evaluator = dict(mean_over=['held_out'], calibration=False)
