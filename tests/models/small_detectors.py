"""Small detectors, images with boxes that need no files, and pretrained weights."""

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from small_configs import small_model

from soma.io.checkpoint_files import write_checkpoint
from soma.models import DINOv2

ARCH = dict(embed_dim=16, depth=6, num_heads=2)
RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8, frozen_stages=1)
TARGETS = r'layer[34]\.\d+\.(conv[12]|downsample\.0)'


def build(config):
    """Build a model, with its initial weights."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    model.init_weights()
    return model


def image_sample(boxes, seed=0, shape=(64, 64)):
    """A sample of an image (height, width) with so many random boxes."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(shape[::-1])
    corner = torch.rand(boxes, 2, generator=generator) * size * 0.6
    extent = torch.rand(boxes, 2, generator=generator) * size * 0.3 + 6
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), shape)
    sample = DetDataSample(metainfo={**meta, 'scale_factor': (1.0, 1.0)})
    labels = torch.randint(0, 7, (boxes,), generator=generator)
    bboxes = torch.cat([corner, corner + extent], 1)
    sample.gt_instances = InstanceData(bboxes=bboxes, labels=labels)
    sample.ignored_instances = InstanceData(bboxes=bboxes[:0], labels=labels[:0])
    return sample


def write_resnet(path):
    """Write weights of a ResNet-18 as torchvision does, with a classifier."""
    state = MODELS.build(RESNET).state_dict()
    for name, value in state.items():
        if '.bn' in name and value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    state |= {'fc.weight': torch.randn(1000, 64), 'fc.bias': torch.randn(1000)}
    write_checkpoint(state, path)


def write_dinov2(path):
    """Write weights of a DINOv2 of six blocks for images of 48 x 64."""
    model = DINOv2({**ARCH, 'init_values': 0.5}, img_size=(48, 64), patch_size=8)
    state = {
        name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()
    }
    write_checkpoint(state, path)


def adapted(kind, path):
    """The config of a small detector with SoMA of rank 2, on the weights in a file."""
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    soma = dict(type='SoMA', rank=2)
    if kind == 'faster_rcnn':
        model = small_model('r50_faster-rcnn')
        model.backbone.backbone = dict(RESNET, init_cfg=init_cfg)
        model.backbone.adapter = dict(soma, targets=TARGETS)
        model.neck.in_channels = [8, 16, 32, 64]
        for proposals in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
            proposals.update(nms_pre=50, max_per_img=20)
        model.test_cfg.rcnn.score_thr = 0.0
        return model
    model = small_model('dinov2-L_dino')
    model.backbone.update(arch=ARCH, img_size=(48, 64), init_cfg=init_cfg)
    model.backbone.adapter = dict(soma, start_block=2)
    model.neck.pyramid = (2, 1, 0.5, 0.5)
    if kind == 'deformable_detr':  # whose decoder layers share their predictions
        model.update(type='DeformableDETR', with_box_refine=False, as_two_stage=False)
        model.bbox_head.type = 'DeformableDETRHead'
        del model.dn_cfg
    return model
