# SVF (arXiv 2206.06122) on a ResNet-50, trainable singular values in stages 2 to 4.
# Few-shot segmentation on PASCAL-5i, 5 shots.
_base_ = [
    '../_base_/models/r50_prototype.py',
    '../_base_/datasets/pascal5i_5shot.py',
    '../_base_/schedules/sgd_30k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='AdaptedBackbone',
        backbone=_base_.model.backbone,
        adapter=dict(type='SVF', targets=r'layer[234]\.\d+\.(conv[123]|downsample\.0)'),
    )
)
