# Unseen domains: nights, fog, India and MUSES, all within 1920 x 1080
_base_ = './targets.py'

val_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(target, pipeline=_base_.hd_pipeline)
            for target in (
                _base_.val_dark_zurich,
                _base_.val_night_driving,
                _base_.val_foggy_zurich,
                _base_.val_idd,
                _base_.val_muses,
            )
        ],
    )
)
test_dataloader = {**_base_.val_dataloader, **val_dataloader}
