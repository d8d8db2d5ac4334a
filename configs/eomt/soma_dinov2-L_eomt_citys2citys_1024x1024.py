# SoMA in EoMT, by the recipe of its authors, Cityscapes, tested on its validation images.
_base_ = './full_dinov2-L_eomt_citys2citys_1024x1024.py'
model = dict(backbone=dict(adapter=dict(type='SoMA', rank=16, start_block=8)))
