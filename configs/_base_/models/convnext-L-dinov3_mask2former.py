# ConvNeXt-L of DINOv3 and Mask2Former, 512 x 512
_base_ = './convnext-L_mask2former.py'

model = dict(backbone=dict(init_cfg=dict(checkpoint='timm/convnext_large.dinov3_lvd1689m')))
