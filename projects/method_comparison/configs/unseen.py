# Unseen: CamVid at dusk and on another day, every second and third image
_base_ = './splits.py'

dusk, day2 = (
    dict(part, pipeline=_base_.pipeline, indices=list(range(0, count, step)))
    for part, count, step in ((_base_.dusk, 124, 2), (_base_.day2, 171, 3))
)
test_dataloader = dict(num_workers=1, dataset=dict(datasets=[dusk, day2]))
test_evaluator = dict(mean_over=['dusk', 'day2'], calibration=True)
