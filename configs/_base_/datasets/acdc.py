# Unseen domains: ACDC's fog, night, rain and snow
_base_ = './targets.py'

test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(1920, 1080), keep_ratio=True)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[dict(target, pipeline=test_pipeline) for target in _base_.val_acdc],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
