"""What tests of detectors share: pictures with boxes, and a tiny DINO that trains on them."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image


@pytest.fixture(scope='session')
def box_data(tmp_path_factory):
    """Two domains of three pictures in the layout of Pascal VOC: a red bus, a blue car."""
    root = tmp_path_factory.mktemp('weather')
    rng = np.random.default_rng(0)
    for folder in ('day', 'night'):
        voc = root / folder / 'VOC2007'
        for part in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
            (voc / part).mkdir(parents=True)
        for index in range(3):
            image = rng.integers(60, 90, (48, 80, 3)).astype(np.uint8)
            objects = ''
            boxes = {'bus': (6 + index, 4, 36, 24), 'car': (44, 20 + index, 70, 40)}
            for name, (left, top, right, bottom) in boxes.items():
                image[top:bottom, left:right] = (220, 30, 30) if name == 'bus' else (30, 30, 220)
                corners = dict(xmin=left + 1, ymin=top + 1, xmax=right + 1, ymax=bottom + 1)
                box = ''.join(f'<{key}>{value}</{key}>' for key, value in corners.items())
                objects += f'<object><name>{name}</name><difficult>0</difficult>'
                objects += f'<bndbox>{box}</bndbox></object>'
            Image.fromarray(image).save(voc / 'JPEGImages' / f'{index}.jpg', quality=95)
            size = '<size><width>80</width><height>48</height><depth>3</depth></size>'
            text = f'<annotation>{size}{objects}</annotation>'
            (voc / 'Annotations' / f'{index}.xml').write_text(text)
        (voc / 'ImageSets' / 'Main' / 'all.txt').write_text('0\n1\n2\n')
    return root


@pytest.fixture
def tiny_detector(tiny_config, box_data):
    """SoMA on the tiny backbone with mmdet's DINO, 2 iterations on ``box_data``."""
    load, annotations = (
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
    )
    fit = [dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='Pad', size=(64, 64))]
    pack = dict(type='PackDomainDetInputs')
    test = [load, *fit, annotations, pack]

    def data(folder, domain, **options):
        return dict(
            type='DomainVOCDataset',
            domain=domain,
            data_root=str(box_data / folder),
            ann_file='VOC2007/ImageSets/Main/all.txt',
            data_prefix=dict(sub_data_root='VOC2007'),
            serialize_data=False,
            **options,
        )

    layer = dict(
        self_attn_cfg=dict(embed_dims=32, num_levels=4, num_points=2, num_heads=4),
        ffn_cfg=dict(embed_dims=32, feedforward_channels=32),
    )
    attention = dict(embed_dims=32, num_heads=4)
    model = dict(
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
        backbone=dict(tiny_config.model.backbone, img_size=64, pyramid=(2, 1, 0.5, 0.25)),
        neck=dict(
            type='ChannelMapper', in_channels=[16] * 4, kernel_size=1, out_channels=32, num_outs=4
        ),
        encoder=dict(num_layers=1, layer_cfg=layer),
        decoder=dict(
            num_layers=2,
            return_intermediate=True,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=layer['self_attn_cfg'],
                ffn_cfg=layer['ffn_cfg'],
            ),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=16, normalize=True),
        bbox_head=dict(
            type='DINOHead',
            num_classes=7,
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
                    dict(type='BBoxL1Cost', weight=5.0),
                    dict(type='IoUCost', iou_mode='giou', weight=2.0),
                ],
            )
        ),
        test_cfg=dict(max_per_img=10),
    )
    domains = [
        data(folder, domain, test_mode=True, pipeline=test)
        for folder, domain in (('day', 'DC'), ('night', 'NC'))
    ]
    loader = dict(tiny_config.test_dataloader, dataset=dict(type='ConcatDataset', datasets=domains))
    train = data('day', 'DC', pipeline=[load, annotations, *fit, pack])
    evaluator = dict(type='DomainVOCMetric')
    changed = dict(
        default_scope='mmdet',
        model=model,
        train_pipeline=train['pipeline'],
        train_dataloader=dict(tiny_config.train_dataloader, dataset=train),
        train_cfg=dict(tiny_config.train_cfg, max_iters=2, val_interval=2),
        val_dataloader=loader,
        test_dataloader=loader,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        test_pipeline=test,
    )
    return Config({**tiny_config.to_dict(), **changed})
