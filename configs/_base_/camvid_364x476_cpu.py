# CamVid, 400 iterations: all of a config but its model and method
_base_ = ['./datasets/camvid_364x476.py', './schedules/adamw_400.py', './default_runtime.py']
