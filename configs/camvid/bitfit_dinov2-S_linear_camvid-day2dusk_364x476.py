# BitFit (arXiv 2106.10199), trainable biases, a linear head: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_linear_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='BitFit')))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}))
