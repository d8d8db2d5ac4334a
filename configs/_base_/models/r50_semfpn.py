# ResNet-50 and SemFPN, 512 x 512. The weights are torchvision's; to get them:
#   python -c "import torch, torchvision; torch.save(torchvision.models.resnet50(
#       weights='IMAGENET1K_V1').state_dict(), 'checkpoints/resnet50.pth')"
_base_ = './dinov2-L_semfpn.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet50.pth'),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
