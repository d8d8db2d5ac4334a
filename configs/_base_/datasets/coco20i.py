# COCO-20i: COCO 2014 with masks of tools/convert_datasets/coco.py, 80 classes in four folds
_base_ = './pascal5i.py'

coco = dict(
    type='CocoMaskDataset',
    domain='coco',
    data_root='data/coco',
    img_suffix='.jpg',
    seg_map_suffix='.png',
)
train_dataloader = dict(
    dataset=dict(
        folds='strided',
        dataset=dict(
            coco,
            _delete_=True,
            data_prefix=dict(img_path='train2014', seg_map_path='semantic/train2014'),
            pipeline=_base_.episode_pipeline,
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        folds='strided',
        dataset=dict(
            coco,
            _delete_=True,
            data_prefix=dict(img_path='val2014', seg_map_path='semantic/val2014'),
            pipeline=_base_.query_pipeline,
        ),
    )
)
test_dataloader = val_dataloader
