"""Detectors of the configs, made small; pictures with boxes."""

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from soma.config import REPOSITORY, load_config

DETECTORS = sorted(
    path
    for folder in ('det', 'toy')
    for path in (REPOSITORY / 'configs' / folder).glob('*.py')
    if folder == 'det' or '_dino_' in path.stem
)


def dicts(node):
    """All dicts within a config."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list | tuple):
            yield from dicts(child)


def shrink_detector(model):
    """Change the sizes of a detector's config, not what it is made of."""
    for part in dicts(dict(model)):
        for key in ('embed_dims', 'feat_channels', 'feedforward_channels', 'fc_out_channels'):
            if key in part:
                part[key] = 32
        for key in ('in_channels', 'out_channels'):
            if part.get(key) in (128, 256):
                part[key] = 32
    if model.backbone.type == 'DINOv2':
        depth = 24 if model.backbone.arch == 'large' else 6
        model.backbone.update(arch=dict(embed_dim=16, depth=depth, num_heads=2), init_cfg=None)
        model.backbone.update(img_size=64, patch_size=8)
        model.neck.in_channels = [16] * len(model.neck.in_channels)
    if model.backbone.type == 'AdaptedBackbone':
        model.backbone.backbone.update(base_channels=8, init_cfg=None)
        model.neck.in_channels = [32, 64, 128, 256]
    if 'num_queries' in model:
        model.num_queries = 20
        model.bbox_head.embed_dims = 32
        model.positional_encoding.num_feats = 16
        model.encoder.num_layers, model.decoder.num_layers = 1, 2
        model.test_cfg.max_per_img = 30


def small_config(name, **options):
    """The model's config of ``configs/det/<name>.py``, small and with other top-level options."""
    model = load_config(REPOSITORY / f'configs/det/{name}.py').model
    shrink_detector(model)
    return model | options


def build(config):
    """Build a model, with its initial weights."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config)
    model.init_weights()
    return model


def picture_sample(boxes, seed=0, side=64):
    """A sample of a picture with so many random boxes."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(boxes, 2, generator=generator) * side * 0.6
    extent = torch.rand(boxes, 2, generator=generator) * side * 0.3 + 6
    shape = (side, side)
    meta = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), shape)
    sample = DetDataSample(metainfo={**meta, 'scale_factor': (1.0, 1.0)})
    labels = torch.randint(0, 7, (boxes,), generator=generator)
    bboxes = torch.cat([corner, corner + extent], 1)
    sample.gt_instances = InstanceData(bboxes=bboxes, labels=labels)
    sample.ignored_instances = InstanceData(bboxes=bboxes[:0], labels=labels[:0])
    return sample
