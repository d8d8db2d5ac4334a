# SVF (arXiv 2206.06122) on DINOv2-S, trainable singular values in the later blocks.
# Few-shot segmentation on COCO-20i, 5 shots.
_base_ = [
    '../_base_/models/dinov2-S_prototype.py',
    '../_base_/datasets/coco20i_5shot.py',
    '../_base_/schedules/sgd_30k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(adapter=dict(type='SVF', start_block=4)))
