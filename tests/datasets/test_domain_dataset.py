"""Domains: what a config may say of them, and files that spoil a sample."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, RandomApply
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmseg.datasets import CityscapesDataset
from PIL import Image
from torch.utils.data import DataLoader

from soma.datasets.transforms import PackDomainInputs
from soma.io.files import InputError
from soma.utils.messages import one_line

CITYSCAPES = CityscapesDataset.METAINFO
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackDomainInputs'),
]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def root(street_data, tmp_path):
    return shutil.copytree(street_data, tmp_path / 'gta')


def dataset(root, **options):
    config = dict(
        type='DomainDataset',
        domain='gta',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix='_labelTrainIds.png',
        pipeline=PIPELINE,
        serialize_data=False,
    )
    return DATASETS.build({**config, **options})


def boxes(**options):
    return DATASETS.build({'type': 'DomainVOCDataset', 'domain': 'DC', **options})


def labels_of(data, index=0):
    return set(np.unique(data[index]['data_samples'].gt_sem_seg.data).tolist())


def test_classes_that_are_chosen_keep_colour_and_label(root):
    data = dataset(root, metainfo=dict(classes=['sky', 'building']), pipeline=PIPELINE[:2])
    assert data.metainfo['classes'] == ('sky', 'building')
    assert data.metainfo['palette'] == [CITYSCAPES['palette'][index] for index in (10, 2)]
    with Image.open(root / 'labels/00000_labelTrainIds.png') as image:
        stored = np.array(image)
    expected = np.full_like(stored, 255)
    expected[stored == 10], expected[stored == 2] = 0, 1
    assert np.array_equal(data[0]['gt_seg_map'], expected)


def test_colours_follow_the_order_of_the_classes(root):
    names = CITYSCAPES['classes'][::-1]
    data = dataset(root, metainfo=dict(classes=names))
    assert data.metainfo['palette'] == CITYSCAPES['palette'][::-1]
    assert dataset(root).metainfo['palette'] == CITYSCAPES['palette']


def test_classes_of_its_own_are_numbered(root):
    names = [f'class {index}' for index in range(25)]
    data = dataset(root, metainfo=dict(classes=names))
    assert data.label_map is None and labels_of(data) == {0, 2, 10, 255}
    assert len(data.metainfo['palette']) == 25
    colours = [[index] * 3 for index in range(25)]
    data = dataset(root, metainfo=dict(classes=names, palette=colours))
    assert data.metainfo['palette'] == colours


def test_classes_from_a_file(root, tmp_path):
    (tmp_path / 'names.txt').write_text('sky\nbuilding\n')
    data = dataset(root, metainfo=dict(classes=str(tmp_path / 'names.txt')))
    assert data.metainfo['classes'] == ('sky', 'building')


def test_label_zero_that_does_not_count(root):
    names = [f'class {index}' for index in range(10)]
    data = dataset(root, metainfo=dict(classes=names), reduce_zero_label=True)
    assert labels_of(data) == {1, 9, 255}


def test_another_ignore_index_reaches_the_metrics(root):
    names = [f'class {index}' for index in range(11)]
    data = dataset(root, metainfo=dict(classes=names), ignore_index=255)
    assert 'ignore_index' not in data.metainfo  # which other datasets do not have either
    for path in (root / 'labels').iterdir():
        with Image.open(path) as image:
            labels = np.array(image)
        labels[labels == 255] = 200
        Image.fromarray(labels).save(path)
    data = dataset(root, metainfo=dict(classes=names), ignore_index=200)
    assert labels_of(data) == {0, 2, 10, 200} and data.metainfo['ignore_index'] == 200


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(metainfo=dict(classes='car')), "classes='car' is neither a list of names nor a file"),
        (dict(metainfo=dict(classes=['car', 3])), r"a list of names, got \['car', 3\]"),
        (dict(metainfo=dict(classes=3)), r'a list of names, got 3'),
        (dict(metainfo=dict(classes={'sky'})), r'a list of names, got .*sky'),
        (dict(metainfo=dict(classes=[])), r'a list of names, got \[\]'),
        (dict(metainfo=dict(classes=['sky', 'car', 'sky'])), 'different names, got sky, sky$'),
        (dict(metainfo=dict(palette=[[0, 0, 0]])), 'a list of 19 colours, one a class'),
        (dict(metainfo=dict(palette=[[0, 0, 256]] * 19)), 'numbers from 0 to 255'),
        (dict(metainfo=dict(palette=[0, 1] * 19)), 'a list of 19 colours'),
        (dict(metainfo='car'), "metainfo must be a Mapping or Config or NoneType, got 'car'"),
        (dict(domain=3), 'domain must be a str, got 3'),
        (dict(data_root=3), 'data_root must be a str or NoneType, got 3'),
        (dict(domain='../gta'), "'../gta' cannot be the name of a folder"),
        (dict(domain=''), 'cannot be the name of a folder'),
        (dict(img_suffix=3), 'img_suffix must be a str or list or tuple or NoneType, got 3'),
        (dict(img_suffix=['.jpg', 3]), r"img_suffix must be of str, got \['.jpg', 3\]"),
        (dict(ann_file=['a']), r"ann_file must be a str, got \['a'\]"),
        (dict(data_prefix='images'), "data_prefix must be a Mapping, got 'images'"),
        (dict(data_prefix=dict(img='x')), "has img='x', and takes .* img_path, seg_map_path"),
        (dict(data_prefix=dict(img_path=3)), 'has img_path=3'),
        (dict(ignore_index='255'), "ignore_index must be a int, got '255'"),
        (dict(reduce_zero_label=True, ignore_index=0), 'ignore_index=0 is the label of road, too'),
        (
            dict(metainfo=dict(classes=['sky']), ignore_index=0),
            'ignore_index=0 is the label of sky',
        ),
        (dict(ignore_index=256), 'ignore_index must be from 0 to 255'),
        (dict(classes=[f'{i}' for i in range(255)]), 'got ignore_index=255 and 255 classes'),
        (dict(classes=['sky'], metainfo=dict(classes=['car'])), 'metainfo names classes too'),
        (dict(classes=['a'], label_map='palette'), 'needs the colours of the classes'),
        (dict(classes=['a'], label_map={}), r"'palette' or say which class .*got \{\}"),
        (dict(classes=['a', 'b'], label_map={0: 'a'}), 'label_map has no value for b'),
        (dict(classes=['a'], label_map={0: 'c'}), r"label_map\[0\]='c' is none of a; None is not"),
        (dict(classes=['a'], label_map={0: 'a', (0, 0, 1): None}), 'needs values .*, or colours'),
        (dict(classes=['a'], label_map={'0': 'a'}), "values from 0 to 65535.*; got '0'"),
        (dict(classes=['a'], label_map={1: 'a'}, reduce_zero_label=True), 'leave reduce_zero_'),
    ],
)
def test_what_a_config_may_not_say(root, options, message):
    with pytest.raises(InputError, match=message):
        dataset(root, **options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(metainfo=dict(classes='car')), "classes='car' is neither a list of names nor a file"),
        (dict(metainfo=dict(classes=('Car', 'car'))), 'different names, got Car, car$'),
        (dict(metainfo=dict(classes=('a',), palette=[])), 'a list of 1 colours'),
        (dict(data_prefix=dict(img_path='x')), "has img_path='x', and takes .*sub_data_root"),
        (dict(domain='a/b'), "'a/b' cannot be the name of a folder"),
    ],
)
def test_what_a_config_may_not_say_of_boxes(options, message):
    with pytest.raises(InputError, match=message):
        boxes(lazy_init=True, **options)


def test_colours_of_boxes_are_those_of_their_classes():
    known = boxes(lazy_init=True).metainfo
    other = boxes(lazy_init=True, metainfo=dict(classes=('truck', 'tram', 'bus'))).metainfo
    assert known['palette'][6] == other['palette'][0] and known['palette'][0] == other['palette'][2]
    assert len(other['palette']) == 3


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def redraw(change):
    def spoil(path):
        with Image.open(path) as image:
            array = change(np.array(image))
        Image.fromarray(array).save(path)

    return spoil


def with_77(labels):
    labels[20:22] = 77
    return labels


def replaced_by_a_folder(path):
    path.unlink()
    path.mkdir()


FAULTS = [  # of the image or the label, and what is said
    ('images', lambda path: path.write_bytes(b''), 'images/00000.png is empty'),
    ('images', lambda path: path.write_bytes(b'x'), 'images/00000.png failed to load image'),
    ('images', lambda path: path.unlink(), 'images/00000.png is missing'),
    ('images', replaced_by_a_folder, 'images/00000.png is a directory'),
    ('labels', cut, 'labels/00000_labelTrainIds.png .*truncated'),
    ('labels', redraw(with_77), 'labels hold 77: neither one of the 19 classes nor 255'),
    (
        'labels',
        redraw(lambda x: x.astype(np.uint16) + 256),
        r'labels hold 256, 258, 266, 511: neither one of the 19 .* \(3840 pixels\)',
    ),
    ('labels', redraw(lambda x: x[:-1]), 'labels 80 x 47 pixels, the image 80 x 48'),
    ('labels', redraw(lambda x: np.pad(x, 1)), 'labels 82 x 50 pixels, the image 80 x 48'),
    ('labels', redraw(lambda x: np.dstack([x, x, 255 - x])), 'labels are colours: say what'),
    ('labels', redraw(lambda x: x[:1]), 'labels 80 x 1 pixels, the image 80 x 48'),
]


@pytest.mark.parametrize(('folder', 'spoil', 'message'), FAULTS)
def test_a_sample_that_cannot_be_used_is_named(root, folder, spoil, message):
    (path,) = (root / folder).glob('00000*')
    data = dataset(root)
    spoil(path)
    both = f'{root}/images/00000.png with labels {root}/labels/00000_labelTrainIds.png: '
    with pytest.raises(InputError, match=f'^{re.escape(both)}.*{message}.*tools/check_data') as e:
        data[0]
    assert '\n' not in str(e.value)
    assert labels_of(data, 1) == {0, 2, 10, 255}


def test_the_value_is_that_of_the_file(root):
    (path,) = (root / 'labels').glob('00000*')
    redraw(with_77)(path)
    names = [f'class {index}' for index in range(12)]
    data = dataset(root, metainfo=dict(classes=names), reduce_zero_label=True)
    with pytest.raises(InputError, match='labels hold 77: neither one of the 12 classes'):
        data[0]


def test_a_worker_says_it_in_one_line(root):
    (path,) = (root / 'labels').glob('00002*')
    redraw(with_77)(path)
    loader = DataLoader(dataset(root), 2, num_workers=1, collate_fn=pseudo_collate)
    with pytest.raises(InputError) as error:
        list(loader)
    text = one_line(error.value)
    assert text.startswith(f'{root}/images/00002.png with labels ') and 'hold 77' in text
    assert 'Traceback' not in text


def test_a_step_that_data_breaks_names_the_sample_and_faults_stay(root, monkeypatch):
    def breaks(error):
        def step(*_):
            raise error

        return step

    pipeline = [*PIPELINE[:2], dict(type='Resize', scale=(8, 8))]
    resize = 'mmseg.datasets.transforms.Resize.transform'
    with monkeypatch.context() as patch:
        patch.setattr(resize, breaks(ValueError('no room')))
        with pytest.raises(InputError, match=r'00000.png with labels .*: Resize no room; tools'):
            dataset(root, pipeline=pipeline)[0]
        patch.setattr(resize, breaks(TypeError('a fault')))
        with pytest.raises(TypeError, match=r'^a fault$'):
            dataset(root, pipeline=pipeline)[0]
    with pytest.raises(ValueError, match=r'^a fault$'):
        dataset(root, pipeline=[*PIPELINE[:2], breaks(ValueError('a fault'))])[0]


class LoadMine(BaseTransform):
    """A user's own loader of labels."""

    def __init__(self, read):
        self.read = read

    def transform(self, results):
        return {**results, 'gt_seg_map': self.read(results['seg_map_path'])}


class Unpacks(BaseTransform):
    """A user's own step with a fault."""

    def transform(self, results):
        _, _ = (1, 2, 3)


def nothing(path):
    return {}['nothing']


@pytest.mark.parametrize(
    ('steps', 'error', 'message'),
    [
        ([PIPELINE[1], Unpacks()], ValueError, '^too many values to unpack'),
        ([PIPELINE[1], RandomApply([Unpacks()], 1.0)], ValueError, '^too many values to unpack'),
        ([LoadMine(nothing)], KeyError, '^.nothing.$'),
    ],
)
def test_a_fault_of_a_step_of_ones_own_is_not_of_the_data(root, steps, error, message):
    with pytest.raises(error, match=message) as raised:
        dataset(root, pipeline=[PIPELINE[0], *steps])[0]
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda path: path.unlink(), 'is missing'),
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: path.write_bytes(b'x' * 99), "'nothing'"),
    ],
)
def test_a_file_that_a_loader_of_ones_own_cannot_read_is_named(root, spoil, message):
    (path,) = (root / 'labels').glob('00000*')
    spoil(path)
    with pytest.raises(
        InputError, match=rf'with labels .*00000_labelTrainIds\.png {message}; tools'
    ):
        dataset(root, pipeline=[PIPELINE[0], LoadMine(nothing)])[0]


def test_labels_of_a_loader_of_ones_own(root):
    for path in [*(root / 'labels').iterdir()]:
        with Image.open(path) as image:
            labels = np.array(image)
        np.save(path.with_suffix('.npy'), labels)
        Image.fromarray(labels.astype(np.uint16) * 200).save(path)  # ids of instances
    arrays = [PIPELINE[0], LoadMine(np.load), PIPELINE[2]]
    data = dataset(root, seg_map_suffix='_labelTrainIds.npy', pipeline=arrays)
    assert labels_of(data) == {0, 2, 10, 255}
    ids = [PIPELINE[0], LoadMine(lambda path: np.array(Image.open(path)) // 200), PIPELINE[2]]
    assert labels_of(dataset(root, pipeline=ids)) == {0, 2, 10, 255}


def test_labels_of_16_bits_whose_values_need_8_are_read(root):
    redraw(lambda labels: labels.astype(np.uint16))(root / 'labels/00000_labelTrainIds.png')
    assert labels_of(dataset(root)) == {0, 2, 10, 255}


def test_paths_may_be_of_pathlib(root):
    (root / 'list.txt').write_text('images/00001.png\n')
    folders = dict(img_path=Path('images'), seg_map_path=Path('labels'))
    data = dataset(root, data_root=Path(root), ann_file=Path('list.txt'), data_prefix=folders)
    assert len(data) == 1 and labels_of(data) == {0, 2, 10, 255}
    assert data.get_data_info(0)['img_path'] == str(root / 'images/00001.png')


def test_images_without_labels_still_load(root):
    data = dataset(root, data_prefix=dict(img_path='images'), pipeline=[PIPELINE[0], PIPELINE[2]])
    assert data[0]['inputs'].shape == (3, 48, 80)


def test_what_is_resized_before_its_labels_come(root):
    steps = [PIPELINE[0], dict(type='Resize', scale=(40, 24)), PIPELINE[1], PIPELINE[2]]
    sample = dataset(root, pipeline=steps)[0]
    assert sample['inputs'].shape == (3, 24, 40)
    assert sample['data_samples'].gt_sem_seg.shape == (48, 80)


@pytest.mark.parametrize(
    ('shape', 'message'), [((48, 80, 3), 'one channel'), ((40, 80), '80 x 40 pixels')]
)
def test_packing_looks_at_labels_of_other_datasets(shape, message):
    results = dict(
        img=np.zeros((48, 80, 3), np.uint8),
        img_path='a.png',
        seg_map_path='b.png',
        ori_shape=(48, 80),
        gt_seg_map=np.zeros(shape, np.uint8),
    )
    with pytest.raises(InputError, match=rf'^a\.png with labels b\.png: .*{message}'):
        PackDomainInputs()(results)
    packed = PackDomainInputs()({**results, 'gt_seg_map': np.ones((48, 80), np.uint8)})
    assert torch.equal(packed['data_samples'].gt_sem_seg.data, torch.ones(1, 48, 80).long())
