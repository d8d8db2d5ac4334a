"""A folder of one's own becomes a config."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soma.datasets.prepare.mask_classes import count_values, find_classes
from soma.datasets.prepare.new_config import Recipe, methods, write_config
from soma.datasets.prepare.own_data import assign_splits, draw_split
from soma.datasets.prepare.scan import find_pairs, split_of
from soma.io.files import InputError
from soma.utils.config import load_config


def write(path, values=((0, 1), (2, 255)), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path, **options)


def write_pairs(root, *names):
    for image, mask in names:
        write(root / image, np.zeros((2, 2, 3)))
        write(root / mask)


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        ([('images/a.JPG', 'masks/a.png')], {'': ('images', 'masks', '.png', ['a'])}),
        ([('a.jpg', 'a.png')], {'': ('', '', '.png', ['a'])}),
        ([('a.png', 'a_mask.png')], {'': ('', '', '_mask.png', ['a'])}),
        ([('a.jpg', 'Labels/a.png')], {'': ('', 'Labels', '.png', ['a'])}),
        ([('images/x/a.jpg', 'masks/x/a.png')], {'': ('images', 'masks', '.png', ['x/a'])}),
        (
            [(f'img_dir/{s}.jpg', f'ann_dir/{s}.png') for s in ('train/a', 'val/b')],
            {
                'train': ('img_dir/train', 'ann_dir/train', '.png', ['a']),
                'val': ('img_dir/val', 'ann_dir/val', '.png', ['b']),
            },
        ),
        (
            [(f'{s}/images/a.jpg', f'{s}/masks/a.png') for s in ('train', 'valid')],
            {
                'train': ('train/images', 'train/masks', '.png', ['a']),
                'val': ('valid/images', 'valid/masks', '.png', ['a']),
            },
        ),
    ],
)
def test_images_and_masks_are_told_apart(tmp_path, names, expected):
    write_pairs(tmp_path, *names)
    parts = find_pairs(tmp_path)
    assert {
        split: (p.images, p.masks, p.mask_suffix, [s.name for s in p.samples])
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
    masks = find_classes([count_values(tmp_path / 'a.png')], tmp_path)
    assert (masks.names, masks.label_map) == (names, label_map)
    assert masks.rows.sum() == 2 * len(values)


def test_names_are_taken_from_files_and_arguments(tmp_path):
    write(tmp_path / 'a.png', [[0, 1, 1]])
    values = [count_values(tmp_path / 'a.png')]
    (tmp_path / 'classes.txt').write_text('soil\nleaf\n')
    assert find_classes(values, tmp_path).names == ['soil', 'leaf']
    assert find_classes(values, tmp_path, ['a', 'b', 'c']).names == ['a', 'b', 'c']
    with pytest.raises(InputError, match=r'1 classes are named \(a\), and the masks have 2 values'):
        find_classes(values, tmp_path, ['a'])
    (tmp_path / 'classes.txt').unlink()
    (tmp_path / 'labelmap.txt').write_text('# label:color\nsoil:0,0,0::\nleaf:0,128,0::\n')
    write(tmp_path / 'b.png', [[(0, 0, 0), (0, 128, 0)]])
    masks = find_classes([count_values(tmp_path / 'b.png')], tmp_path)
    assert masks.names == ['soil', 'leaf'] and masks.palette == [[0, 0, 0], [0, 128, 0]]


def test_masks_that_are_none_are_refused(tmp_path):
    write(tmp_path / 'a.jpg', np.zeros((8, 8)))
    with pytest.raises(InputError, match=r'a\.jpg is a JPEG'):
        count_values(tmp_path / 'a.jpg')
    write(tmp_path / 'b.png', np.random.default_rng(0).integers(0, 255, (9, 9, 3)))
    with pytest.raises(InputError, match=r'b\.png has 81 different values'):
        count_values(tmp_path / 'b.png')


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


@pytest.mark.parametrize('method', ['soma', 'frozen', 'full', 'rein'])
def test_a_config_is_written_for_each_method(leaves, tmp_path, method):
    head = 'mask2former' if method == 'rein' else 'semfpn'
    data = write_config(leaves, tmp_path / 'own.py', Recipe(method, head=head, iters=100))
    assert (data.counts['train'].total, data.counts['val'].total) == (4, 1)
    config = load_config(tmp_path / 'own.py')
    assert config.num_classes == config.model.decode_head.num_classes == 3
    assert config.train_cfg.max_iters == 100 and config.train_cfg.val_interval == 10
    assert {s.end for s in config.param_scheduler} == {100}
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


def test_there_is_a_config_for_each_method():
    assert len(methods()) == 12 and {'soma', 'frozen', 'full', 'lora', 'rein'} < {*methods()}


def test_boxes_of_coco_make_a_detector(tmp_path):
    root = tmp_path / 'fruit'
    images = [dict(id=i, file_name=f'{i}.jpg', width=6, height=4) for i in range(5)]
    for image in images:
        write(root / 'images' / image['file_name'], np.zeros((4, 6, 3)))
    boxes = [
        dict(id=i, image_id=i % 5, category_id=3 + i % 2, bbox=[0, 0, 2, 2]) for i in range(10)
    ]
    names = [dict(id=3, name='apple'), dict(id=4, name='pear')]
    content = dict(images=images, annotations=boxes, categories=names)
    (root / 'annotations.json').write_text(json.dumps(content))
    data = write_config(root, tmp_path / 'own.py', Recipe('soma'))
    assert data.counts['train'].amounts.tolist() == [4, 4]
    config = load_config(tmp_path / 'own.py')
    dataset = config.train_dataloader.dataset
    assert dataset.type == 'DomainCocoDataset' and dataset.data_prefix == dict(img='images')
    assert config.model.bbox_head.num_classes == 2 and dataset.classes == ['apple', 'pear']
    parts = [json.loads((tmp_path / f'own_{s}.json').read_text()) for s in ('train', 'val')]
    assert [len(part['images']) for part in parts] == [4, 1]
    assert [len(part['annotations']) for part in parts] == [8, 2]


@pytest.mark.parametrize(
    ('out', 'recipe', 'message'),
    [
        ('my-own.py', {}, r'my-own\.py must be called like a file of Python'),
        ('own.txt', {}, 'must be called'),
        ('own.py', dict(method='sgd'), 'method must be one of bitfit, dora.*sgd'),
        ('own.py', dict(arch='huge'), 'arch must be one of small, base, large'),
        ('own.py', dict(iters=3), 'iters must be at least 10'),
    ],
)
def test_wrong_arguments_are_refused(leaves, tmp_path, out, recipe, message):
    with pytest.raises(InputError, match=message):
        write_config(leaves, tmp_path / out, Recipe(**{'method': 'soma', **recipe}))
    assert not [p for p in tmp_path.iterdir() if p != leaves]


def test_nothing_is_written_over(leaves, tmp_path):
    (tmp_path / 'own.py').write_text('x = 1')
    with pytest.raises(InputError, match='is there already'):
        write_config(leaves, tmp_path / 'own.py', Recipe('soma'))


def test_splits_are_words():
    assert split_of(Path('annotations/instances_train2017.json')) == 'train'
    assert split_of(Path('valid/_annotations.coco.json')) == 'val'
    assert split_of(Path('training_notes/a.json')) == 'train'
    assert split_of(Path('restrained.json')) == ''
