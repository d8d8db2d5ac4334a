# The unseen domains, and 12 images of synthia that the training does not see
_base_ = ['./unseen.py', '../../../../configs/_base_/datasets/sources.py']

data = {**_base_.synthia, 'data_root': 'data/toy_study/synthia', 'serialize_data': False}
test_dataloader = dict(
    dataset=dict(
        datasets=[
            *_base_.test_dataloader.dataset.datasets,
            dict(data, indices=-12, pipeline=_base_.test_pipeline),
        ]
    )
)
