# The unseen domains of the study; files that name a source add held-out images of it
_base_ = '../_base_/datasets/toy_domains.py'

test_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        datasets=[
            {
                **part,
                'data_root': part['data_root'].replace('data/toy/', 'data/toy_study/'),
                # Serialised samples would only serve workers, and take seconds to make.
                'serialize_data': False,
            }
            for part in _base_.test_dataloader.dataset.datasets
        ]
    ),
)
test_evaluator = dict(mean_over=['citys', 'bdd', 'map', 'fog', 'night', 'rain', 'snow'])
