# The same with five support images
_base_ = './pascal5i.py'

shots = 5
train_dataloader = dict(dataset=dict(shots=shots))
val_dataloader = dict(dataset=dict(shots=shots))
test_dataloader = val_dataloader
