# CamVid with EoMT, 400 iterations: all of a config but its model and method
_base_ = './camvid_364x476_cpu.py'

optim_wrapper = dict(
    optimizer=dict(lr=1e-3), paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.5)})
)
custom_hooks = [*_base_.custom_hooks, dict(type='MaskAnnealingHook')]
