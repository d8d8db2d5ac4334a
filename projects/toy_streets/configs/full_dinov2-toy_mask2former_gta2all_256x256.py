# Full fine-tuning on the toy streets, GTA -> all others. The backbone learns as fast as in SoMA:
# the x 0.01 of the real config would leave it where it was in so few iterations.
_base_ = [
    './_base_/models/dinov2-toy_mask2former.py',
    './_base_/datasets/toy_gta_256x256.py',
    './_base_/datasets/toy_domains.py',
    './_base_/schedules/toy.py',
    '../../../configs/_base_/default_runtime.py',
]
