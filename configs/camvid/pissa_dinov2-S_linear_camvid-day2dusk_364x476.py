# PiSSA (arXiv 2404.02948), the principal components, a linear head: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_linear_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='PiSSA', rank=16)))
