# PiSSA on the toy streets, GTA -> all others
_base_ = './lora_dinov2-toy_semfpn_gta2all_256x256.py'

model = dict(backbone=dict(adapter=dict(type='PiSSA')))
# The best of a sweep on the toy UrbanSyn, as for all methods
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15))))
