# ACDC's test split, whose labels the server keeps: tools/test.py --test-data THIS --out DIR
_base_ = './acdc.py'

test_pipeline = [step for step in _base_.test_pipeline if step['type'] != 'LoadAnnotations']
test_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(
                {**target, 'data_prefix': dict(img_path=f'rgb_anon/{target["domain"]}/test')},
                pipeline=test_pipeline,
            )
            for target in _base_.val_acdc
        ]
    )
)
tta_pipeline = [*_base_.tta_pipeline]
tta_pipeline[1].transforms = [
    choices for choices in tta_pipeline[1].transforms if choices[0].type != 'LoadAnnotations'
]
test_evaluator = dict(format_only=True)
