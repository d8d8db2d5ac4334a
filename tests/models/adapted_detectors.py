"""Tiny detectors, and pictures with boxes that need no files."""

import copy

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import DATASETS, MODELS
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from soma.config import REPOSITORY, load_config
from soma.files import write_checkpoint
from soma.models import DINOv2

ARCH = dict(embed_dim=16, depth=6, num_heads=2)
RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8, frozen_stages=1)
TARGETS = r'layer[34]\.\d+\.(conv[12]|downsample\.0)'
CLASSES = ('bus', 'bike', 'car', 'motor', 'person', 'rider', 'truck')


@DATASETS.register_module()
class TinyBoxes(Dataset):
    """Four pictures of 48 x 64 pixels, each with two boxes in the colour of their class."""

    def __init__(self):
        palette = [(40 * i, 120, 250 - 30 * i) for i in range(7)]
        self.metainfo = dict(classes=CLASSES, palette=palette)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 60, (3, 48, 64))
        labels = rng.integers(0, 7, 2)
        corners = rng.integers(0, (32, 16), (2, 2))
        boxes = np.concatenate([corners, corners + rng.integers(12, 24, (2, 2))], 1)
        for label, (left, top, right, bottom) in zip(labels, boxes, strict=True):
            colour = np.array(self.metainfo['palette'][label])[:, None, None]
            image[:, top:bottom, left:right] = colour
        sample = DetDataSample(
            metainfo=dict(
                img_id=index,
                img_path=f'{index}.png',
                domain='DC',
                ori_shape=(48, 64),
                img_shape=(48, 64),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.from_numpy(labels)
        )
        return dict(inputs=torch.from_numpy(image.astype(np.uint8)), data_samples=sample)


def faster_rcnn(backbone):
    """The Faster R-CNN of the configs, on a ResNet-18 of width 8."""
    config = load_config(REPOSITORY / 'configs' / '_base_' / 'models' / 'r50_faster-rcnn.py')
    model = copy.deepcopy(config.model.to_dict())
    model['backbone'] = backbone
    model['neck'].update(in_channels=[8, 16, 32, 64], out_channels=16)
    model['rpn_head'].update(in_channels=16, feat_channels=16)
    roi_head = model['roi_head']
    roi_head['bbox_roi_extractor'].update(out_channels=16)
    roi_head['bbox_head'].update(in_channels=16, fc_out_channels=16, num_classes=len(CLASSES))
    model['train_cfg']['rpn_proposal'].update(nms_pre=50, max_per_img=20)
    model['test_cfg']['rpn'].update(nms_pre=50, max_per_img=20)
    model['test_cfg']['rcnn']['score_thr'] = 0.0
    return model


def dino(backbone):
    """mmdet's DINO with one layer each, 32 wide."""
    attention = dict(embed_dims=32, num_heads=4, dropout=0.0)
    across = dict(embed_dims=32, num_heads=4, num_levels=4, dropout=0.0)
    ffn = dict(embed_dims=32, feedforward_channels=32, ffn_drop=0.0)
    return dict(
        type='DINO',
        num_queries=10,
        with_box_refine=True,
        as_two_stage=True,
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
        backbone=backbone,
        neck=dict(
            type='ChannelMapper',
            in_channels=[16] * 4,
            kernel_size=1,
            out_channels=32,
            act_cfg=None,
            norm_cfg=dict(type='GN', num_groups=4),
            num_outs=4,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=across, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=1,
            return_intermediate=True,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=across, ffn_cfg=ffn),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=16, normalize=True, temperature=20),
        bbox_head=dict(
            type='DINOHead',
            num_classes=len(CLASSES),
            embed_dims=32,
            sync_cls_avg_factor=True,
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
            loss_bbox=dict(type='L1Loss', loss_weight=5.0),
            loss_iou=dict(type='GIoULoss', loss_weight=2.0),
        ),
        dn_cfg=dict(
            label_noise_scale=0.5,
            box_noise_scale=1.0,
            group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=4),
        ),
        train_cfg=dict(
            assigner=dict(
                type='HungarianAssigner',
                match_costs=[
                    dict(type='FocalLossCost', weight=2.0),
                    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                    dict(type='IoUCost', iou_mode='giou', weight=2.0),
                ],
            )
        ),
        test_cfg=dict(max_per_img=10),
    )


def deformable_detr(backbone):
    """:func:`dino` without its additions; its two decoder layers share their predictions."""
    model = dino(backbone)
    model.update(type='DeformableDETR', with_box_refine=False, as_two_stage=False)
    model['decoder'] = {**model['decoder'], 'num_layers': 2}
    model['bbox_head'].update(type='DeformableDETRHead')
    del model['dn_cfg']
    return model


def write_resnet(path):
    """Write weights of a ResNet-18 as torchvision does, with a classifier."""
    state = MODELS.build(RESNET).state_dict()
    for name, value in state.items():
        if '.bn' in name and value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    state |= {'fc.weight': torch.randn(1000, 64), 'fc.bias': torch.randn(1000)}
    write_checkpoint(state, path)


def write_dinov2(path):
    """Write weights of a DINOv2 of six blocks for pictures of 48 x 64."""
    model = DINOv2({**ARCH, 'init_values': 0.5}, img_size=(48, 64), patch_size=8)
    state = {
        name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()
    }
    write_checkpoint(state, path)


def adapted(kind, path):
    """A model config by its name here, adapted, on the weights in a file."""
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    soma = dict(type='SoMA', rank=2)
    if kind == 'faster_rcnn':
        inner = dict(RESNET, init_cfg=init_cfg)
        return faster_rcnn(
            dict(type='AdaptedBackbone', backbone=inner, adapter=dict(soma, targets=TARGETS))
        )
    backbone = dict(type='DINOv2', arch=ARCH, img_size=(48, 64), patch_size=8, init_cfg=init_cfg)
    make = {'dino': dino, 'deformable_detr': deformable_detr}[kind]
    return make(dict(backbone, pyramid=(2, 1, 0.5, 0.25), adapter=dict(soma, start_block=2)))


def detector_config(tiny_config, model):
    """Put a detector into the tiny set-up: two iterations on :class:`TinyBoxes`, no evaluation."""
    config = copy.deepcopy(tiny_config)
    config.default_scope = 'mmdet'
    config.model = model
    config.train_dataloader.dataset = dict(type='TinyBoxes')
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=10)
    config.default_hooks.checkpoint.interval = 2
    for part in ('dataloader', 'cfg', 'evaluator'):
        for split in ('val', 'test'):
            config[f'{split}_{part}'] = None
    return config
