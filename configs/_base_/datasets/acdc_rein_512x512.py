# Unseen domains: ACDC's conditions at 960 x 540, as in Rein's release at crops of 512; SoMA's has
# 1920 x 1080 (acdc.py)
_base_ = './targets.py'

test_pipeline = [*_base_.test_pipeline]
test_pipeline[1] = dict(type='Resize', scale=(960, 540), keep_ratio=True)
val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[dict(target, pipeline=test_pipeline) for target in _base_.val_acdc],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
