# Full fine-tuning in EoMT: CamVid, minutes on a CPU.
_base_ = ['../_base_/models/dinov2-S_eomt_364x476.py', '../_base_/camvid_364x476_eomt_cpu.py']
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.03)}))
