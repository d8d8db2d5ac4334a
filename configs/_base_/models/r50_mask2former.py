# ResNet-50 and Mask2Former, 512 x 512, on torchvision's weights. To get them:
#   python -c "import torch, torchvision; torch.save(torchvision.models.resnet50(
#       weights='IMAGENET1K_V1').state_dict(), 'checkpoints/resnet50.pth')"
_base_ = './convnext-L_mask2former.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet50.pth'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
)
