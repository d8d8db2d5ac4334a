"""A folder of one's own becomes a config."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from soma.datasets.label_reader import LabelError
from soma.datasets.prepare.mask_classes import count_values, find_classes, read_table
from soma.datasets.prepare.new_config import _test_pipelines, write_config
from soma.datasets.prepare.own_boxes import find_coco, read_boxes
from soma.datasets.prepare.own_data import assign_splits, draw_split
from soma.datasets.prepare.recipe import Recipe, methods
from soma.datasets.prepare.scan import find_pairs, split_of
from soma.io.files import InputError
from soma.utils.config import REPOSITORY, load_config


def write(path, values=((0, 1), (2, 255))):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(values)
    Image.fromarray(pixels.astype(np.uint16 if pixels.max() > 255 else np.uint8)).save(path)


def write_pairs(root, *names, values=((0, 1), (2, 255))):
    for image, mask in names:
        write(root / image, np.zeros((2, 2, 3)))
        write(root / mask, values)


def values_of(path, *options):
    with Image.open(path) as image:
        return count_values(image, *options)


def first_samples(config):
    """The first sample of each data loader of a config, as its pipeline leaves it."""
    config = load_config(config)
    samples = {}
    with DefaultScope.overwrite_default_scope(config.default_scope):
        for split in ('train', 'val', 'test'):
            data = config[f'{split}_dataloader'].dataset
            samples[split] = DATASETS.build(dict(data, serialize_data=False))[0]
    return samples


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        ([('images/a.JPG', 'masks/a.png')], {'': ('images', 'masks', '', ['a'])}),
        ([('a.jpg', 'a.png')], {'': ('', '', '', ['a'])}),
        ([('a.png', 'a_mask.png')], {'': ('', '', '_mask.png', ['a'])}),
        ([('a.jpg', 'Labels/a.png')], {'': ('', 'Labels', '', ['a'])}),
        ([('images/x/a.jpg', 'masks/x/a.png')], {'': ('images', 'masks', '', ['x/a'])}),
        (
            [(f'img_dir/{s}.jpg', f'ann_dir/{s}.png') for s in ('train/a', 'val/b')],
            {
                'train': ('img_dir/train', 'ann_dir/train', '', ['a']),
                'val': ('img_dir/val', 'ann_dir/val', '', ['b']),
            },
        ),
        (
            [(f'{s}/images/a.jpg', f'{s}/masks/a.png') for s in ('train', 'valid')],
            {
                'train': ('train/images', 'train/masks', '', ['a']),
                'val': ('valid/images', 'valid/masks', '', ['a']),
            },
        ),
    ],
)
def test_images_and_masks_are_told_apart(tmp_path, names, expected):
    write_pairs(tmp_path, *names)
    parts = find_pairs(tmp_path)
    assert {
        split: (p.images, p.masks, p.mask_tail, [s.name for s in p.samples])
        for split, p in parts.items()
    } == expected
    for part in parts.values():
        assert all(s.image.is_file() and s.mask.is_file() for s in part.samples)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ([('a.jpg', 'b.png')], r'none of 2 images has a mask of its name'),
        ([('images/a.jpg', 'masks/a.png'), ('images/a.png', 'b.png')], r'a\.jpg, .*a\.png have'),
        ([('x/a.jpg', 'x/a.png'), ('images/b.jpg', 'masks/b.png')], 'pairs of several kinds'),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, names, message):
    write_pairs(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path)


def test_linked_folders_are_searched_once(tmp_path):
    write_pairs(tmp_path / 'elsewhere', ('a.jpg', 'a.png'))
    (tmp_path / 'data').mkdir()
    os.symlink(tmp_path / 'elsewhere', tmp_path / 'data/linked')
    os.symlink(tmp_path / 'data', tmp_path / 'elsewhere/circle')
    assert [s.name for s in find_pairs(tmp_path / 'data')[''].samples] == ['linked/a']


@pytest.mark.parametrize(
    ('values', 'names', 'label_map'),
    [
        ([0, 1, 2, 255], ['class_0', 'class_1', 'class_2'], None),
        ([0, 2], ['class_0', 'class_1', 'class_2'], None),
        ([0, 255], ['background', 'object'], {0: 'background', 255: 'object'}),
        ([1, 2], ['class_1', 'class_2'], {1: 'class_1', 2: 'class_2'}),
        ([0, 128], ['class_0', 'class_128'], {0: 'class_0', 128: 'class_128'}),
        (
            [(0, 0, 0), (255, 0, 0)],
            ['colour_000000', 'colour_ff0000'],
            {(0, 0, 0): 'colour_000000', (255, 0, 0): 'colour_ff0000'},
        ),
    ],
)
def test_values_become_classes(tmp_path, values, names, label_map):
    pixels = np.array([values, values], np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    masks = find_classes([values_of(tmp_path / 'a.png')], tmp_path)
    assert (masks.names, masks.label_map) == (names, label_map)
    assert masks.rows.sum() == 2 * len(values)


def test_names_are_taken_from_files_and_arguments(tmp_path):
    write(tmp_path / 'a.png', [[0, 1, 1]])
    values = [values_of(tmp_path / 'a.png')]
    (tmp_path / 'classes.txt').write_text('soil\nleaf\n')
    assert find_classes(values, tmp_path).names == ['soil', 'leaf']
    assert find_classes(values, tmp_path, ['a', 'b', 'c']).names == ['a', 'b', 'c']
    with pytest.raises(InputError, match=r'1 classes are named \(a\), and the masks have 2 values'):
        find_classes(values, tmp_path, ['a'])


def test_tables_of_cvat_and_roboflow(tmp_path):
    assert read_table(tmp_path) is None
    csv = tmp_path / 'train/_classes.csv'
    csv.parent.mkdir()
    csv.write_text('Pixel Value, Class\n0, soil\n1, leaf\n3, rot\n')
    table = read_table(tmp_path)
    assert table == {0: 'soil', 1: 'leaf', 3: 'rot'}
    masks = find_classes([Counter({0: 5, 3: 1, 255: 2})], tmp_path, None, table)
    assert masks.names == ['soil', 'leaf', 'rot'] and masks.rows.tolist() == [[5, 0, 1, 2]]
    assert masks.label_map == {**table, 255: None}
    with pytest.raises(InputError, match='the masks hold 2, which its list of classes does not'):
        find_classes([Counter({0: 5, 2: 1})], tmp_path, None, table)
    (tmp_path / 'labelmap.txt').write_text('# label:color\nsoil:0,0,0::\nleaf:0,128,0::\n')
    table = read_table(tmp_path)
    values = [Counter({(0, 0, 0): 1, (0, 128, 0): 2})]
    masks = find_classes(values, tmp_path, None, table)
    assert masks.names == ['soil', 'leaf'] and masks.palette == [[0, 0, 0], [0, 128, 0]]
    assert find_classes(values, tmp_path, ['a', 'b'], table).names == ['a', 'b']
    two = find_classes(values, tmp_path, None, {**table, (9, 9, 9): 'leaf'})  # of two colours
    assert two.palette is None and two.label_map[9, 9, 9] == 'leaf'
    (tmp_path / 'labelmap.txt').write_text('soil:0,0\n')
    with pytest.raises(InputError, match=r"labelmap\.txt does not say a class: 'soil,0,0'"):
        read_table(tmp_path)


def test_masks_that_are_none_are_refused(tmp_path):
    write(tmp_path / 'a.jpg', np.zeros((8, 8)))
    with pytest.raises(LabelError, match='are a JPEG'):
        values_of(tmp_path / 'a.jpg')
    for pixels in (np.arange(81).reshape(9, 9), np.arange(243).reshape(9, 9, 3)):
        write(tmp_path / 'b.png', pixels)
        with pytest.raises(LabelError, match='hold 81 different values, which are no classes'):
            values_of(tmp_path / 'b.png')
    with pytest.raises(InputError, match='have 1 classes, with the values 7: there must be 2'):
        find_classes([Counter({7: 5})], tmp_path)


def test_each_class_is_on_both_sides():
    rows = np.zeros((20, 3), int)
    rows[:, 0] = 100
    rows[[3, 11], 1] = 7
    rows[[5, 6, 7], 2] = 3
    chosen = draw_split(rows, 0.2)
    assert chosen.sum() == 4 and (draw_split(rows, 0.2) == chosen).all()
    assert (rows[chosen].any(0) & rows[~chosen].any(0)).all()
    splits = assign_splits({'train': rows, 'test': rows[:2]}, 0.5)
    assert [(name, source, len(i)) for name, (source, i) in splits.items()] == [
        ('train', 'train', 10), ('val', 'train', 10), ('test', 'test', 2),
    ]  # fmt: skip
    with pytest.raises(InputError, match='there is val, and nothing to train on'):
        assign_splits({'val': rows}, 0.5)


@pytest.fixture
def leaves(tmp_path):
    root = tmp_path / 'my leaves'
    for index in range(5):
        write(root / f'images/{index}.{"JPG" if index % 2 else "jpg"}', np.zeros((4, 6, 3)))
        write(root / f'masks/{index}.png', np.arange(24).reshape(4, 6) % 3)
    return root


@pytest.mark.parametrize('method', ['soma', 'full', 'rein'])
def test_a_config_is_written_for_each_method(leaves, tmp_path, method):
    head = 'mask2former' if method == 'rein' else None
    (tmp_path / 'base.pth').touch()
    recipe = Recipe(method, head=head, iters=300, base=os.path.relpath(tmp_path / 'base.pth'))
    data = write_config(leaves, tmp_path / 'own.py', recipe)
    assert (data.counts['train'].total, data.counts['val'].total) == (4, 1)
    config = load_config(tmp_path / 'own.py')
    assert config.num_classes == config.model.decode_head.num_classes == 3
    assert config.train_cfg.max_iters == 300 and config.train_cfg.val_interval == 100
    hooks = config.default_hooks
    assert (hooks.checkpoint.interval, hooks.logger.interval) == (100, 30)
    assert {s.end for s in config.param_scheduler} == {300}
    averages = [hook for hook in config.custom_hooks if 'EMA' in hook.type]
    assert all(hook.momentum == 0.0002 * 40000 / 300 for hook in averages)
    assert bool(averages) == (method == 'soma')
    assert config.model.backbone.init_cfg.checkpoint == str(tmp_path / 'base.pth')
    resize = dict(type='Resize', scale=(1024, 512), keep_ratio=True)
    tested = config.test_dataloader.dataset.pipeline
    assert tested == config.test_pipeline and tested[1] == config.tta_pipeline[1] == resize
    steps = [step.type for step in config.tta_pipeline]
    assert steps == ['LoadImageFromFile', 'Resize', 'TestTimeAug']
    assert '# No folder test: ' in (tmp_path / 'own.py').read_text()
    published = load_config(f'configs/{method}/{method}_dinov2-L_mask2former_gta2cbm_512x512.py')
    adapters = [c.model.backbone.get('adapter') or {} for c in (config, published)]
    assert adapters[0].get('type') == adapters[1].get('type')
    assert 2 * adapters[0].get('start_block', 0) == adapters[1].get('start_block', 0)
    rates = [
        c.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult for c in (config, published)
    ]
    assert rates[0] == rates[1]
    names = {(tmp_path / f'own_{split}.txt').read_text() for split in ('train', 'val')}
    assert sorted(''.join(names).split()) == list('01234')


@pytest.mark.parametrize(
    ('arch', 'head', 'weights'),
    [
        ('dinov3-S', None, 'dinov3_vits16'),
        ('dinov3-B', 'semfpn', 'dinov3_vitb16'),
        ('dinov3-L', 'semfpn', 'dinov3_vitl16'),
        ('sam-L', 'mask2former', 'sam_vit_l'),
    ],
)
def test_other_networks(leaves, tmp_path, arch, head, weights):
    write_config(leaves, tmp_path / 'own.py', Recipe('soma', arch, head))
    config = load_config(tmp_path / 'own.py')
    backbone = config.model.backbone
    assert backbone.type == 'TimmVisionTransformer' and backbone.init_cfg.checkpoint == weights
    assert backbone.adapter.start_block == (4 if arch[-1] != 'L' else 8)
    with torch.device('meta'):
        widths = MODELS.build(backbone).widths
    where = config.model.decode_head if head == 'mask2former' else config.model.neck
    assert where.in_channels == widths


def test_eomt(leaves, tmp_path):
    for arch, depth in (('base', 3), ('large', 4)):
        write_config(leaves, tmp_path / f'{arch}.py', Recipe('soma', arch, 'eomt'))
        config = load_config(tmp_path / f'{arch}.py')
        assert (config.model.type, config.model.backbone.arch) == ('EoMT', arch)
        assert config.model.backbone.init_cfg.checkpoint == f'dinov2_vit{arch[0]}14'
        assert (config.model.decode_head.num_blocks, config.model.decode_head.num_classes) == (
            depth,
            3,
        )
        kinds = [hook.type for hook in config.custom_hooks]
        assert kinds.count('MaskAnnealingHook') == kinds.count('TrainableEMAHook') == 1
    with pytest.raises(InputError, match='--head of dinov3-S must be semfpn or mask2former'):
        write_config(leaves, tmp_path / 'own.py', Recipe('soma', 'dinov3-S', 'eomt'))


GREEN, BLACK = (0, 128, 0), (0, 0, 0)


@pytest.mark.parametrize(
    ('image', 'mask', 'pixels', 'expected'),
    [
        ('{}.JPG', '{}.png', [[1, 2], [0, 255]], [0, 1, 2, 255]),
        ('{}.png', '{}_mask.png', [[0, 255], [0, 255]], [0, 1]),
        ('images/{}.jpg', 'masks/{}.PNG', [[BLACK, GREEN], [BLACK, GREEN]], [0, 1]),
        ('JPEGImages/{}.jpg', 'SegmentationClass/{}.png', [[5, 9], [5, 1000]], [0, 1, 2]),
    ],
)
def test_the_data_of_a_config_can_be_loaded(tmp_path, image, mask, pixels, expected):
    root = tmp_path / 'own'
    write_pairs(root, *[(image.format(i), mask.format(i)) for i in range(3)], values=pixels)
    if pixels[0][0] == BLACK:  # one without green is grey to look at
        write(root / mask.format(2), [[BLACK, BLACK], [BLACK, BLACK]])
    if 'Class' in mask:
        write(root / 'SegmentationObject/0.png')
    data = write_config(root, tmp_path / 'own.py', Recipe('soma'))
    assert not any('left out' in line for line in data.lines())
    found = set()
    for sample in first_samples(tmp_path / 'own.py').values():
        found |= {*sample['data_samples'].gt_sem_seg.data.unique().tolist()}
    assert sorted(found) == expected


def test_pairs_that_cannot_be_used_are_named(leaves, tmp_path):
    write(leaves / 'masks/1.png')
    (leaves / 'images/2.jpg').write_bytes(b'')
    with pytest.raises(
        InputError, match=r'2 of 5 pairs .*1\.png has 2 x 2 .* 6 x 4; .*2\.jpg is e'
    ):
        write_config(leaves, tmp_path / 'own.py', Recipe('soma'))
    with pytest.raises(InputError, match='must be different names, got a, a, a'):
        write(leaves / 'masks/1.png', np.zeros((4, 6)))
        write(leaves / 'images/2.jpg', np.zeros((4, 6, 3)))
        write_config(leaves, tmp_path / 'own.py', Recipe('soma'), ['a', 'a', 'a'])
    assert [*tmp_path.iterdir()] == [leaves]


def test_files_without_a_partner_are_told_of(leaves, tmp_path):
    write(leaves / 'images/alone.jpg', np.zeros((4, 6, 3)))
    write(leaves / 'masks/lost.png')
    write(leaves / 'elsewhere/b.png')
    data = write_config(leaves, tmp_path / 'own.py', Recipe('soma'))
    assert [line for line in data.lines() if 'left out' in line] == [
        f'2 files have no partner of its name, such as {leaves}/images/alone.jpg: left out'
    ]


def test_there_is_a_config_for_each_method():
    assert len(methods()) == 17 and {'soma', 'frozen', 'full', 'recyclelora'} < {*methods()}


def write_coco(root, file, folder='images', names=('apple', 'pear')):
    """Five images with two boxes each, of the first class and the second in turns."""
    images = [dict(id=i, file_name=f'{i}.jpg', width=6, height=4) for i in range(5)]
    for image in images:
        write(root / folder / image['file_name'], np.zeros((4, 6, 3)))
    boxes = [
        dict(id=i, image_id=i % 5, category_id=3 + i % 2, bbox=[0, 0, 2, 2]) for i in range(10)
    ]
    categories = [dict(id=index, name=name) for index, name in enumerate(names, 3)]
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    content = dict(images=images, annotations=boxes, categories=categories)
    (root / file).write_text(json.dumps(content))


def test_boxes_of_coco_make_a_detector(tmp_path):
    root = tmp_path / 'fruit'
    write_coco(root, 'annotations.json', names=('apple', 'pear', 'fruits'))
    data = write_config(root, tmp_path / 'own.py', Recipe('soma'))
    assert data.counts['train'].amounts.tolist() == [4, 4]
    assert data.remarks == ['there is no box of fruits: left out']
    config = load_config(tmp_path / 'own.py')
    dataset = config.train_dataloader.dataset
    assert dataset.type == 'DomainCocoDataset' and dataset.data_prefix == dict(img='images')
    assert config.model.bbox_head.num_classes == 2 and dataset.classes == ['apple', 'pear']
    parts = [json.loads((tmp_path / f'own_{s}.json').read_text()) for s in ('train', 'val')]
    assert [len(part['images']) for part in parts] == [4, 1]
    assert [len(part['annotations']) for part in parts] == [8, 2]
    assert config.param_scheduler[0].end == 150
    transforms = config.tta_pipeline[1].transforms
    assert [step.scale for step in transforms[0]] == [(512, 512), (640, 640)]
    assert len(transforms) == 4
    samples = first_samples(tmp_path / 'own.py')
    assert samples['test']['inputs'].shape == (3, 512, 512)
    for sample in (samples['val'], samples['test']):  # one to train on is cut by chance
        boxes = sample['data_samples'].gt_instances
        assert sorted(boxes.labels.tolist()) == [0, 1] and len(boxes.bboxes) == 2
    with pytest.raises(InputError, match=r'0\.jpg is a file: give the folder of all images'):
        write_config(root / 'images/0.jpg', tmp_path / 'other.py', Recipe('soma'))
    with pytest.raises(InputError, match='leave --head out'):
        write_config(root, tmp_path / 'other.py', Recipe('soma', head='linear'))
    with pytest.raises(InputError, match="no category 'plum': it has apple, pear"):
        write_config(root, tmp_path / 'other.py', Recipe('soma'), ['plum'])
    with pytest.raises(InputError, match='--arch of boxes must be small, base or large, got dino'):
        write_config(root, tmp_path / 'other.py', Recipe('soma', 'dinov3-S'))


def test_files_of_coco_are_told_apart(tmp_path):
    for split in ('train', 'val'):
        for kind in ('instances', 'person_keypoints'):
            write_coco(tmp_path, f'annotations/{kind}_{split}2017.json', f'{split}2017')
    (tmp_path / 'annotations/captions_val2017.json').write_text('{"images": [], "annotations": []}')
    paths = find_coco(tmp_path)
    assert {split: path.name for split, path in paths.items()} == {
        split: f'instances_{split}2017.json' for split in ('train', 'val')
    }
    data = read_boxes(tmp_path, paths, tmp_path / 'own.py', None, 0.2)
    assert {split: options['data_prefix']['img'] for split, options in data.splits.items()} == {
        split: f'{split}2017' for split in ('train', 'val')
    }
    assert not data.files
    (tmp_path / 'more_train.json').write_bytes(paths['train'].read_bytes())
    paths['train'].rename(tmp_path / 'annotations/other_train.json')
    with pytest.raises(InputError, match='both have boxes'):
        find_coco(tmp_path)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (('images/a.jpg', 'labels/a.txt', 'data.yaml'), r"YOLO: 'python tools/.*yolo\.py .*own'"),
        (('JPEGImages/a.jpg', 'Annotations/a.xml'), 'Pascal VOC: DomainVOCDataset reads them'),
        (('a.jpg', 'a.json'), "export masks, or boxes in COCO's JSON"),
        (('a.txt',), 'none of 0 images has a mask'),
    ],
)
def test_other_folders_get_a_hint(tmp_path, names, message):
    root = tmp_path / 'own'
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{}')
    with pytest.raises(InputError, match=message):
        write_config(root, tmp_path / 'own.py', Recipe('soma'))


@pytest.mark.parametrize(
    ('out', 'recipe', 'message'),
    [
        ('my-own.py', {}, r'my-own\.py must be called like a file of Python'),
        ('own.txt', {}, 'must be called'),
        ('own.py', dict(method='sgd'), 'method must be one of bitfit, corda, dora.*sgd'),
        ('own.py', dict(arch='huge'), 'arch must be one of small, base, large'),
        ('own.py', dict(iters=3), 'iters must be at least 10'),
        ('own.py', dict(base='x.pth'), r"no file x\.pth, and nothing public is called 'x\.pth'"),
        ('own.py', dict(base='dinov2_vitb14'), 'dinov2_vitb14 does not fit --arch small'),
        ('own.py', dict(base='dinov3_vits16'), 'dinov3_vits16 does not fit --arch small'),
        ('own.py', dict(arch='sam-L'), '--head of sam-L must be mask2former, got semfpn'),
    ],
)
def test_wrong_arguments_are_refused(leaves, tmp_path, out, recipe, message):
    with pytest.raises(InputError, match=message):
        write_config(leaves, tmp_path / out, Recipe(**{'method': 'soma', **recipe}))
    assert not [p for p in tmp_path.iterdir() if p != leaves]


@pytest.mark.parametrize(
    ('size', 'has_boxes', 'scale'),
    [
        ((300, 200), False, (1024, 512)),
        ((600, 900), False, (1200, 600)),
        ((4032, 3024), False, (2048, 1024)),
        ((600, 900), True, (900, 900)),
        ((4032, 3024), True, None),  # that of the base
    ],
)
def test_the_scale_of_tests_follows_the_images(size, has_boxes, scale):
    codes = [*_test_pipelines({size: 3, (100, 150): 8}, has_boxes).values()]
    assert (f'scale={scale}' in codes[0]) if scale else not codes


def test_weights_are_a_file_or_a_name_of_their_size():
    assert Recipe('soma', 'base').weights() == 'dinov2_vitb14'
    assert Recipe('soma', base='dinov2_vits14_reg').weights() == 'dinov2_vits14_reg'


def test_nothing_is_written_over(leaves, tmp_path):
    for name in ('own.py', 'own_val.txt'):
        (tmp_path / name).write_text('x = 1')
        with pytest.raises(InputError, match=rf'{name} is there already'):
            write_config(leaves, tmp_path / 'own.py', Recipe('soma'))
        (tmp_path / name).unlink()
    assert [*tmp_path.iterdir()] == [leaves]


def test_splits_are_words():
    assert split_of(Path('annotations/instances_train2017.json')) == 'train'
    assert split_of(Path('valid/_annotations.coco.json')) == 'val'
    assert split_of(Path('training_notes/a.json')) == 'train'
    assert split_of(Path('restrained.json')) == ''


def test_the_config_of_the_guide_tests_on_another_domain(tmp_path):
    for root in (tmp_path / 'leaves', tmp_path / 'leaves_night'):
        for index in range(2):
            write(root / f'images/{index}.jpg', np.zeros((4, 6, 3)))
            write(root / f'masks/{index}.png', np.arange(24).reshape(4, 6) % 3)
    write_config(tmp_path / 'leaves', tmp_path / 'my_leaves.py', Recipe('soma'))
    text = (REPOSITORY / 'docs/user_guides/own_data.md').read_text()
    (code,) = re.findall(r'```python\n# my_leaves_night\.py\n(.*?)```', text, re.DOTALL)
    (tmp_path / 'my_leaves_night.py').write_text(code)
    data = load_config(tmp_path / 'my_leaves_night.py').test_dataloader.dataset
    data.update(data_root=str(tmp_path / 'leaves_night'), pipeline=[])
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(data)
    assert (dataset.domain, len(dataset)) == ('night', 2)
