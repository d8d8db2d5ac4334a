"""Configs made small; a tiny detector that trains on images with boxes."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from soma.datasets.lists import write_names
from soma.datasets.voc_files import VOCBox, write_voc
from soma.io.checkpoint_files import write_checkpoint
from soma.models.build import build_model, use_plain_model
from soma.utils.config import REPOSITORY, load_config

# Configs that differ from another one in the family of the backbone, the method or the data alone
# run slowly, but for those that differ most.
OTHERS = re.compile(
    r'.+_(dinov3|eva02|sam|clip|siglip2)-._|.+_convnext-L-dinov3_|frozen_convnext'
    r'|(bitfit|corda|dora|full-release|lora-null|mica|milora|olora|osf|pissa|rein-nolink)_'
    r'|recyclelora-(main|sub)_|recyclelora_.+_citys2bm|segformer_mit-b[35]_'
    r'|(frozen|full)_dinov2-L_(mask2former_(?!gta2cbm)|dino_)|soma_dinov2-L_dino_'
    r'|soma_dinov2-L_mask2former_(citys2bm|gs2cbm|gsu2cbm|gsu-c16th2cbm)_|.+_camvid-'
    r'|rein_dinov2-L_mask2former_citys2acdc_|.+_eomt_|(frozen|full|last4|lora)_dinov2-L_.+_gta2cbm_'
    r'|soma_dinov2-[BS]_mask2former_|soma_.+_citys2acdc_1024|soma_dinov2-L_codetr_'
    r'|segformer_mit-b2_((.+_)?synthia|pixmix_)'
)
FAST = (
    'soma_dinov3-L_mask2former_gta2cbm_512x512',
    'frozen_eva02-L_mask2former_gta2cbm_512x512',
    'rein_sam-H_mask2former_gta2cbm_512x512',
    'soma_convnext-L-dinov3_mask2former_gta2cbm_512x512',
    'soma_dinov2-S_semfpn_camvid-day2dusk_364x476',
    'soma_dinov2-L_eomt_gta2cbm_512x512',
)
DETECTORS = sorted((REPOSITORY / 'configs/det').glob('*.py'))
FEW_SHOT = sorted((REPOSITORY / 'configs/svf').glob('*_prototype_*.py'))
SMALL = Path(__file__).parent / 'configs'


def each(paths):
    """Config files as parameters of a test."""
    return [
        pytest.param(
            path,
            id=path.stem,
            marks=pytest.mark.slow if OTHERS.match(path.stem) and path.stem not in FAST else (),
        )
        for path in paths
    ]


def shrink_vit(backbone, size):
    """Make a vision transformer small, of width 16; as deep as it is, so that blocks count."""
    key = 'arch' if backbone.type == 'DINOv2' else 'model_name'
    depth = next((n for name, n in (('large', 24), ('huge', 32)) if name in backbone[key]), 12)
    small = dict(embed_dim=16, depth=depth, num_heads=2)
    if backbone.get('model_name', '').startswith('samvit'):
        small.update(window_size=3)
    backbone['arch' if key == 'arch' else 'model_args'] = small
    backbone.update(img_size=size, patch_size=8, init_cfg=None)
    return [16] * 4


def dicts(node):
    """All dicts within a config."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list | tuple):
            yield from dicts(child)


def make_short(config, work_dir):
    """Make a config train for two iterations, in this process and without writing files."""
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        for part in dicts(loader.dataset):
            if 'domain' in part:
                part.serialize_data = False  # which collects garbage, slowly
    config.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'launcher': 'none',
            'log_level': 'WARNING',
            'visualizer': None,
            'load_from': None,
            'train_cfg': dict(max_iters=2, val_interval=3),
            'default_hooks.checkpoint': dict(interval=3, save_last=False),
        }
    )
    return config


def without_validation(config):
    """Take out of a config what would be the same as its test."""
    assert config.val_dataloader == config.test_dataloader
    assert config.val_evaluator == config.test_evaluator
    config.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    return config


def shrink_detector(model):
    """Change the sizes of a detector's config, not what it is made of."""
    for part in dicts(dict(model)):
        for key in ('embed_dims', 'feat_channels', 'feedforward_channels', 'fc_out_channels'):
            if key in part:
                part[key] = 32
        for key in ('in_channels', 'out_channels'):
            if part.get(key) == 256:
                part[key] = 32
    if model.backbone.type in ('DINOv2', 'TimmVisionTransformer'):
        model.neck.in_channels = shrink_vit(model.backbone, 64)
    if model.backbone.type == 'AdaptedBackbone':
        model.backbone.backbone.update(base_channels=8, init_cfg=None)
        model.neck.in_channels = [32, 64, 128, 256]
    if 'num_queries' in model:
        model.num_queries = 20
        model.bbox_head.embed_dims = 32
        model.positional_encoding.num_feats = 16
        if 'num_feats' in model.decoder:
            model.decoder.num_feats = 16
        model.encoder.num_layers, model.decoder.num_layers = 1, 2
        model.dn_cfg.group_cfg.num_dn_queries = 10
        model.test_cfg.max_per_img = 30


def small_mask2former(kind, queries=5):
    """A Mask2Former of width 32 on four maps of width 16, of the head's type."""
    head = load_config(SMALL / 'small_mask2former.py').model.decode_head
    for part in dicts(head):
        part.update({k: 32 for k in ('embed_dims', 'feat_channels', 'out_channels') if k in part})
        part.update({'num_feats': 16} if 'num_feats' in part else {})
    head.update(type=kind, in_channels=[16] * 4, num_queries=queries)
    head.train_cfg.num_points = 64
    return head


def small_model(name, **options):
    """The model of ``configs/det/soma_<name>_diverse-weather_1024x1024.py``, small.

    Args:
        name: Backbone and detector, such as ``dinov2-L_dino``.
        options: What replaces its top-level options.
    """
    path = f'configs/det/soma_{name}_diverse-weather_1024x1024.py'
    model = load_config(REPOSITORY / path).model
    shrink_detector(model)
    return model | options


def plain_checkpoint(config, path):
    """Write the model of a config with random weights, all of them and without an adapter."""
    config = copy.deepcopy(config)
    use_plain_model(config)
    state = build_model(config).state_dict()
    if (levels := state.get('level_embed')) is not None:  # DINO leaves it as the memory was
        levels.normal_()
    write_checkpoint({'state_dict': state}, path)
    return path


@pytest.fixture(scope='session')
def box_data(tmp_path_factory):
    """Two domains of three images in the layout of Pascal VOC: a red bus, a blue car."""
    root = tmp_path_factory.mktemp('weather')
    rng = np.random.default_rng(0)
    for folder in ('day', 'night'):
        voc = root / folder / 'VOC2007'
        write_names(voc / 'ImageSets/Main/all.txt', '012')
        (voc / 'JPEGImages').mkdir()
        for index in range(3):
            image = rng.integers(60, 90, (48, 80, 3)).astype(np.uint8)
            boxes = {'bus': (6 + index, 4, 36, 24), 'car': (44, 20 + index, 70, 40)}
            for name, (left, top, right, bottom) in boxes.items():
                image[top:bottom, left:right] = (220, 30, 30) if name == 'bus' else (30, 30, 220)
            Image.fromarray(image).save(voc / f'JPEGImages/{index}.jpg', quality=95)
            objects = [VOCBox(name, tuple(x + 1 for x in box)) for name, box in boxes.items()]
            write_voc(voc / f'Annotations/{index}.xml', f'{index}.jpg', (80, 48), objects)
    return root


@pytest.fixture
def tiny_detector(tiny_config, box_data):
    """SoMA on the tiny backbone with DINO, 2 iterations on ``box_data`` at 64 x 48 pixels."""
    load, annotations = (
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
    )
    fit = [dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='Pad', size=(64, 48))]
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

    domains = [
        data(folder, domain, test_mode=True, pipeline=test)
        for folder, domain in (('day', 'DC'), ('night', 'NC'))
    ]
    loader = dict(tiny_config.test_dataloader, dataset=dict(type='ConcatDataset', datasets=domains))
    train = data('day', 'DC', pipeline=[load, annotations, *fit, pack])
    evaluator = dict(type='DomainVOCMetric')
    backbone = dict(tiny_config.model.backbone, img_size=(48, 64), pyramid=(1, 1, 1, 1))
    changed = dict(
        default_scope='mmdet',
        model=small_model('dinov2-L_dino', backbone=backbone).to_dict(),
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
