# Full fine-tuning on the toy streets, GTA -> all others. The x 0.01 of the real config would leave
# the backbone where it was in so few iterations.
_base_ = [
    './_base_/models/dinov2-toy_semfpn.py',
    './_base_/datasets/toy_gta_256x256.py',
    './_base_/datasets/toy_domains.py',
    './_base_/schedules/toy.py',
    '../../../configs/_base_/default_runtime.py',
]
# The best of a sweep on the toy UrbanSyn, as for all methods
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.05))))
