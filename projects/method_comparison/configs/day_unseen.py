# The unseen domains, and the part of the day for tests: as it is, and every third image corrupted
_base_ = './unseen.py'

day = dict(_base_.held_out, domain='day', indices=_base_.for_tests)
load, *others = _base_.pipeline
corrupted = [
    dict(
        day,
        domain=f'{name}-{severity}',
        indices=_base_.for_tests[::3],
        pipeline=[load, dict(type='Corrupt', name=name, severity=severity), *others],
    )
    for name in ('fog', 'frost', 'brightness', 'motion_blur', 'gaussian_noise')
    for severity in (1, 3, 5)
]
test_dataloader = dict(
    dataset=dict(datasets=[*_base_.test_dataloader.dataset.datasets, day, *corrupted])
)
