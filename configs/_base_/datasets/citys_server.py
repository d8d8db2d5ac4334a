# Cityscapes' test split, whose labels the server keeps: tools/test.py --test-data THIS --out DIR
_base_ = './targets.py'

test_pipeline = [step for step in _base_.test_pipeline if step['type'] != 'LoadAnnotations']
test_dataloader = {
    **_base_.val_dataloader,
    'dataset': dict(
        type='ConcatDataset',
        datasets=[
            dict(
                {**_base_.val_citys, 'data_prefix': dict(img_path='leftImg8bit/test')},
                pipeline=test_pipeline,
            )
        ],
    ),
}
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms = [
    choices for choices in tta_pipeline[1].transforms if choices[0].type != 'LoadAnnotations'
]
test_evaluator = dict(format_only=True)
