# Unseen: CamVid at dusk, on another day, and the day's held-out images corrupted; 336 x 252 pixels
_base_ = '../../../configs/_base_/datasets/camvid_364x476.py'

pipeline = [*_base_.test_pipeline]
pipeline[1] = dict(type='Resize', scale=(336, 252), keep_ratio=False)
dusk, day2, day = (
    dict(part, pipeline=pipeline, indices=list(range(0, count, step)))
    for part, count, step in ((_base_.dusk, 124, 1), (_base_.day2, 171, 2), (_base_.day, 101, 3))
)
corrupted = [
    dict(
        day,
        domain=f'{name}-{severity}',
        indices=list(range(0, 101, 12)),
        pipeline=[pipeline[0], dict(type='Corrupt', name=name, severity=severity), *pipeline[1:]],
    )
    for name in ('fog', 'frost', 'brightness', 'motion_blur', 'gaussian_noise')
    for severity in (1, 3, 5)
]
test_dataloader = dict(
    num_workers=1,
    dataset=dict(type='ConcatDataset', datasets=[dusk, day2, day, *corrupted]),
)
test_evaluator = dict(type='DomainIoUMetric', mean_over=['dusk', 'day2'], calibration=True)
