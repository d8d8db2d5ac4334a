# Faster R-CNN with ResNet-50 and FPN, as mmdet has it, for the 7 classes of Diverse Weather.
# The weights are torchvision's, which mmdet's ResNet reads as they are; to get them:
#   python -c "import torch, torchvision; torch.save(torchvision.models.resnet50(
#       weights='IMAGENET1K_V1').state_dict(), 'checkpoints/resnet50.pth')"
_base_ = ['mmdet::_base_/models/faster-rcnn_r50_fpn.py']
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    rpn_head=dict(type='Float32RPNHead'),
    roi_head=dict(bbox_head=dict(num_classes=7)),
)
