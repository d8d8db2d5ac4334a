# The same as with 1 shot, with five support images.
_base_ = './svf_r50_prototype_coco20i-1shot_417x417.py'

shots = 5
train_dataloader = dict(dataset=dict(shots=shots))
val_dataloader = dict(dataset=dict(shots=shots))
test_dataloader = val_dataloader
