"""Which files are images, and which labels belong to them."""

import os

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from soma.datasets.image_files import find_images, list_files
from soma.datasets.prepare.check import check_config
from soma.datasets.prepare.check_report import write_good_lists
from soma.io.files import InputError


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def write(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def config_of(root, **options):
    return {
        **dict(type='DomainDataset', domain='own', data_root=str(root), classes=['a', 'b']),
        'data_prefix': dict(img_path='images', seg_map_path='labels'),
        **dict(serialize_data=False, pipeline=[]),
        **options,
    }


def pairs(root, **options):
    data = DATASETS.build(config_of(root, **options))
    samples = [data.get_data_info(index) for index in range(len(data))]
    keys = ('img_path', 'seg_map_path')
    return [tuple(os.path.relpath(s[key], root) for key in keys if key in s) for s in samples]


def test_images_of_any_suffix_and_their_labels(tmp_path):
    write(tmp_path, 'images/a.jpg', 'images/b.JPG', 'images/day/a.PNG', 'images/c.jpeg')
    write(tmp_path, 'images/.d.jpg', 'images/.cache/e.jpg')
    write(tmp_path, *(f'labels/{name}' for name in ('a.png', 'a.jpg', 'b.PNG', 'day/a.png')))
    (tmp_path / 'images/readme.txt').touch()
    assert pairs(tmp_path) == [
        ('images/a.jpg', 'labels/a.png'),
        ('images/b.JPG', 'labels/b.PNG'),
        ('images/c.jpeg', 'labels/c.png'),  # which is missing, and said so when it is loaded
        ('images/day/a.PNG', 'labels/day/a.png'),
    ]
    several = pairs(tmp_path, img_suffix=['.jpg', '.jpeg'])
    assert [image for image, _ in several] == ['images/a.jpg', 'images/b.JPG', 'images/c.jpeg']
    assert pairs(tmp_path, img_suffix='.jpg', seg_map_suffix='.png') == [
        ('images/a.jpg', 'labels/a.png')
    ]
    assert pairs(tmp_path, img_suffix='.Png', seg_map_suffix='_x.png') == [
        ('images/day/a.PNG', 'labels/day/a_x.png')
    ]


def test_suffixes_with_tails():
    files = ['a_left.png', 'a_right.png', 'b_left.JPG']
    assert find_images(files, ('_left.png', '_left.jpg')) == {'a': 'a_left.png', 'b': 'b_left.JPG'}
    assert find_images(files, '_left.png') == {'a': 'a_left.png'}


@pytest.mark.parametrize('suffix', [None, ('.png', '.jpg')])
def test_two_images_of_one_name(tmp_path, suffix):
    write(tmp_path, 'images/a.jpg', 'images/a.png')
    with pytest.raises(InputError, match=r'images: a\.jpg and a\.png are two images of one name'):
        pairs(tmp_path, img_suffix=suffix)
    assert pairs(tmp_path, img_suffix='.jpg') == [('images/a.jpg', 'labels/a.png')]


def test_labels_among_the_images(tmp_path):
    write(tmp_path, 'a.jpg', 'labels/a.png')
    folders = dict(data_prefix=dict(img_path='', seg_map_path='labels'))
    assert pairs(tmp_path, **folders) == [('a.jpg', 'labels/a.png')]
    write(tmp_path, 'b/c.png', 'b/c_mask.png')
    folders = dict(data_prefix=dict(img_path='b', seg_map_path='b'))
    assert pairs(tmp_path, seg_map_suffix='_mask.png', **folders) == [('b/c.png', 'b/c_mask.png')]


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path, 'disk/x/a.jpg', 'images/b.jpg')
    (tmp_path / 'images/linked').symlink_to(tmp_path / 'disk')
    (tmp_path / 'images/again').symlink_to(tmp_path / 'images')
    (tmp_path / 'disk/x/up').symlink_to('..')
    (tmp_path / 'disk/x/images').symlink_to(tmp_path / 'images')
    (tmp_path / 'images/broken.jpg').symlink_to('nowhere')
    assert list_files(tmp_path / 'images') == ['b.jpg', 'broken.jpg', 'linked/x/a.jpg']


def test_lists_with_and_without_suffixes(tmp_path):
    write(tmp_path, 'images/a.JPG', 'images/v1.2/b.png', 'labels/a.png', 'labels/v1.2/b.png')
    (tmp_path / 'list.txt').write_text('images/v1.2/b.png\na\nc\na\n')
    assert pairs(tmp_path, ann_file='list.txt') == [
        ('images/v1.2/b.png', 'labels/v1.2/b.png'),
        ('images/a.JPG', 'labels/a.png'),
        ('images/c.png', 'labels/c.png'),
        ('images/a.JPG', 'labels/a.png'),  # twice, as the list says
    ]


def test_the_good_pairs_of_mixed_files_are_listed(tmp_path):
    write(tmp_path, 'images/a.JPG', 'images/b.png', 'labels/a.png', 'labels/b.png', 'labels/c.png')
    (tmp_path / 'images/b.png').write_bytes(b'')
    data = config_of(tmp_path)
    (part,) = check_config(Config(dict(train_dataloader=dict(dataset=data))))
    assert {os.path.basename(fault.file): fault.kind for fault in part.faults} == {
        'b.png': 'unreadable',
        'c.png': 'no image',
    }
    (option,) = write_good_lists([part], tmp_path / 'out')
    ann_file = option.partition('=')[2]
    assert pairs(tmp_path, ann_file=ann_file) == [('images/a.JPG', 'labels/a.png')]
