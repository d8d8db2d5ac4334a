# ResNet-50 and prototypes (PANet, 1908.06391), stride 8; weights as in r50_semfpn.py
_base_ = './dinov2-S_prototype.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet50.pth'),
    ),
)
