# CamVid, 4,000 iterations: all of a config but its model and method
_base_ = ['./datasets/camvid_364x476.py', './schedules/adamw_4k.py', './default_runtime.py']
optim_wrapper = dict(optimizer=dict(lr=1e-4))
