# SVF (arXiv 2206.06122) on a ResNet-50, trainable singular values in stages 2 to 4.
# Few-shot segmentation on PASCAL-5i, 1 shot.
_base_ = [
    '../_base_/models/r50_prototype_svf.py',
    '../_base_/datasets/pascal5i.py',
    '../_base_/schedules/sgd_30k.py',
    '../_base_/default_runtime.py',
]
