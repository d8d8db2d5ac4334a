# Full fine-tuning: CamVid.
_base_ = ['../_base_/models/dinov2-L_semfpn_364x476.py', '../_base_/camvid_364x476.py']
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.03)}))
