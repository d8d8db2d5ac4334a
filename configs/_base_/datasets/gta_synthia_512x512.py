# Sources: GTA V and Synthia
_base_ = './sources.py'

train_dataloader = dict(
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(source, pipeline=_base_.train_pipeline) for source in (_base_.gta, _base_.synthia)
        ],
    )
)
