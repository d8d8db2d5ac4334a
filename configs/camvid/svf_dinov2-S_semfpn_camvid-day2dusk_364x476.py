# SVF (arXiv 2206.06122), trainable singular values: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_semfpn_364x476.py', '../_base_/camvid_364x476_cpu.py']
model = dict(backbone=dict(adapter=dict(type='SVF', start_block=4)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}))
