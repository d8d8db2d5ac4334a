"""tools/convert_datasets/yolo.py: the layouts of YOLO's data, boxes, polygons, oddities."""

import json

import numpy as np
import pytest
from dataset_files import digests
from mmengine.registry import DATASETS
from PIL import Image

import soma  # noqa: F401, registers
from soma.datasets.prepare.convert_yolo import convert_yolo
from soma.io.files import InputError

SIZE = (100, 60)


def write(root, files):
    """Images (None), and texts."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            Image.fromarray(np.zeros((*SIZE[::-1], 3), np.uint8)).save(path)
        else:
            path.write_text(text)
    return root


def read(out, split):
    """Boxes with the names of their classes, by the file."""
    content = json.loads((out / f'annotations_{split}.json').read_text())
    names = {entry['id']: entry['name'] for entry in content['categories']}
    boxes = {image['id']: [] for image in content['images']}
    for entry in content['annotations']:
        boxes[entry['image_id']].append((names[entry['category_id']], entry['bbox']))
    return {image['file_name']: boxes[image['id']] for image in content['images']}


@pytest.fixture
def root(tmp_path):
    data = 'path: /home/me/pets\ntrain: images/train\nval: [images/val]\nnames: {0: cat, 1: dog}\n'
    files = {
        'data.yaml': data,
        'images/train/a.jpg': None,
        'images/train/deep/b.PNG': None,
        'images/train/none.jpg': None,
        'images/val/c.jpg': None,
        'labels/train/a.txt': '1 0.5 0.5 0.4 0.2\n\n0 0.1 0.25 0.2 0.5\n',
        'labels/train/deep/b.txt': '0 0.1 0.1 0.5 0.1 0.5 0.8 0.3 0.9\n',
        'labels/val/c.txt': '',
    }
    return write(tmp_path / 'yolo', files)


def test_boxes_and_polygons_become_coco(root, tmp_path, run_here, capsys):
    before, out = digests(root), tmp_path / 'coco'
    with pytest.raises(SystemExit, match='0'):
        run_here('convert_datasets/yolo.py', root, '--out', out)
    assert digests(root) == before
    assert read(out, 'train') == {
        'images/train/a.jpg': [('dog', [30, 24, 40, 12]), ('cat', [0, 0, 20, 30])],
        'images/train/deep/b.PNG': [('cat', [10, 6, 40, 48])],
        'images/train/none.jpg': [],
    }
    assert read(out, 'val') == {'images/val/c.jpg': []}
    printed = capsys.readouterr().out
    assert '2 files converted, 0 already there' in printed and '2 (2)' in printed
    (line,) = [line for line in printed.splitlines() if 'DomainCocoDataset' in line]
    options = eval(f'dict({line.partition(", ")[2]})')
    file = dict(type='DomainCocoDataset', ann_file='annotations_train.json', domain='pets')
    dataset = DATASETS.build({**file, **options})
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset[0]['instances'][0] == dict(bbox=[30, 24, 70, 36], bbox_label=1, ignore_flag=0)
    summary = convert_yolo(root, out, nproc=2)
    assert (summary.converted, summary.skipped) == (0, 2)
    assert convert_yolo(root).converted == 2 and (root / 'annotations_val.json').exists()


def test_oddities_are_told_and_broken_files_left_out(root):
    files = {
        'images/train/x.jpg': None,
        'labels/train/a.txt': '0 0.5 0.5 0.4 0.2\n0 0.5 0.5 0.4 0.2\n0 0.9 0.5 0.4 0.2\n'
        '1 0.5 0.5 0 0.1\n',
        'labels/train/deep/b.txt': '2 0.5 0.5 0.4 0.2\n',
        'labels/train/none.txt': '\n1 50 30 40 12\n',
        'labels/train/x.txt': '1 0.5 0.5\n',
        'labels/val/c.txt': 'dog 0.5 0.5 0.4 0.2\n',
        'labels/val/other.txt': '',
    }
    write(root, files)
    image = Image.open(root / 'images/val/c.jpg')
    (root / 'images/val/d.jpg').write_bytes(b'')
    turned = image.getexif()
    turned[0x0112] = 6
    image.save(root / 'images/val/e.jpg', exif=turned)
    write(root, {'labels/val/e.txt': '1 0.5 0.5 0.5 0.5\n'})
    summary = convert_yolo(root)
    labels = root / 'labels'
    assert summary.failures == {
        f'{labels}/train/deep/b.txt': 'has in line 1 the class 2, which has no name',
        f'{labels}/train/none.txt': 'has in line 2 what is no share of width and height: '
        "'1 50 30 40 12'; are these pixels?",
        f'{labels}/train/x.txt': 'has in line 1 3 numbers: a class and 4 of a box, or a polygon',
        f'{labels}/val/c.txt': "has in line 1 no numbers: 'dog 0.5 0.5 0.4 0.2'",
        f'{labels}/val/d.txt': f'its image {root}/images/val/d.jpg is empty',
    }
    assert summary.remarks == {
        f'{labels}/train/a.txt': 'has boxes: 1 there twice, 1 cut at the edges of the image, 1 '
        'thinner than a pixel, left out',
        f'{labels}/val/other.txt': 'has no image',
    }
    boxes = [('cat', [30, 24, 40, 12]), ('cat', [70, 24, 30, 12])]
    assert read(root, 'train') == {'images/train/a.jpg': boxes}
    assert read(root, 'val') == {'images/val/e.jpg': [('dog', [15, 25, 30, 50])]}  # as it is shown


def test_a_split_that_is_not_there_and_names_that_share_a_file(root):
    (root / 'data.yaml').write_text('names: [cat, dog]\ntrain: images/val\ntest: ../test/images\n')
    (root / 'images/val/c.png').write_bytes((root / 'images/val/c.jpg').read_bytes())
    assert convert_yolo(root).remarks == {
        '../test/images': 'is not there, and data.yaml names it',
        f'{root}/labels/val/c.txt': 'is of 2 images of this name',
    }
    assert not (root / 'annotations_test.json').exists()


BOX = '0 0.5 0.5 0.4 0.2'
LAYOUTS = {
    'of Roboflow': (
        {'data.yaml': 'train: ../train/images\nval: ../valid/images\nnc: 1\nnames: [cat]\n'},
        {'train': 'train/images/a.jpg', 'val': 'valid/images/b.jpg'},
    ),
    'of folders': ({'classes.txt': 'cat\n'}, {'test': 'images/test/a.jpg'}),
    'of a list': (
        {'my.yml': 'test: list.txt\nnames: [cat]\n', 'list.txt': './images/a.jpg\n'},
        {'test': 'images/a.jpg'},
    ),
    'without splits': ({'labels/classes.txt': 'cat\n'}, {'all': 'images/a.jpg'}),
    'side by side': ({'classes.txt': 'cat\n'}, {'all': 'a.jpg'}),
    'of key points': (
        {'data.yaml': 'kpt_shape: [2, 2]\nval: images\nnames: [cat]\n'},
        {'val': 'images/a.jpg'},
    ),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_layouts(layout, tmp_path):
    files, splits = LAYOUTS[layout]
    images = dict.fromkeys(splits.values())
    line = f'{BOX} 0.1 0.1 0.9 0.9' if layout == 'of key points' else BOX
    labels = {image.replace('images/', 'labels/').replace('.jpg', '.txt'): line for image in images}
    write(tmp_path / 'yolo', {**files, **images, **labels})
    summary = convert_yolo(tmp_path / 'yolo', tmp_path / 'out')
    assert not summary.failures and not summary.remarks
    for split, image in splits.items():
        assert read(tmp_path / 'out', split) == {image: [('cat', [30, 24, 40, 12])]}
        assert (tmp_path / 'out' / image).is_file()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: [cat\n', r'data.yaml is no YAML: '),
        ('train: images\n', r'data.yaml has no names'),
        ('names: [cat]\nnc: 2\n', r'data.yaml has nc: 2, and names of 1 classes'),
        ('names: [cat, Cat]\n', r"data.yaml has 2 classes of the name 'cat'"),
        ('names: [cat]\ntrain: ../../other\n', r'^../../other, which is to have images, is not'),
        ('names: [cat]\ntrain: labels\n', r'expected images in .*labels, found none'),
    ],
)
def test_what_cannot_be_read_is_named(root, text, message):
    (root / 'data.yaml').write_text(text)
    (root.parent / 'other').mkdir()
    with pytest.raises((InputError, FileNotFoundError), match=message):
        convert_yolo(root)
