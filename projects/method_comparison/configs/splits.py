# The day's two drives (0006R0: images 0 to 100 of day.txt, 0016E5: 101 to 304) in three parts, with
# at least four seconds between them, and CamVid's classes
_base_ = '../../../configs/_base_/datasets/camvid_364x476.py'

for_training = [*range(60), *range(101, 169), *range(197, 261)]
for_rates = [*range(64, 81), *range(169, 193)]
for_tests = [*range(84, 101), *range(265, 289)]
pipeline = [*_base_.test_pipeline]
pipeline[1] = dict(type='Resize', scale=(336, 252), keep_ratio=False)
held_out = dict(
    _base_.camvid_day,
    metainfo=_base_.eleven,
    pipeline=pipeline,
    domain='held_out',
    indices=for_rates,
)
