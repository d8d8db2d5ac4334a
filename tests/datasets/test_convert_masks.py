import json

import numpy as np
import pytest
from dataset_files import digests, read_labels
from pycocotools import mask

from soma.datasets.prepare.convert import convert_dataset
from soma.io.files import InputError

SIZE = (20, 30)
SPLITS = ('train', 'val')
IDS = [
    identity for identity in range(1, 91) if identity not in (12, 26, 29, 30, 45, 66, 68, 69, 71)
]
IDS.remove(83)


def box(left, top, right, bottom):
    """A polygon, and the pixels in it."""
    pixels = np.zeros(SIZE, bool)
    pixels[top:bottom, left:right] = True
    return [[left, top, right, top, right, bottom, left, bottom]], pixels


@pytest.fixture
def coco(tmp_path):
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    images = [dict(id=7, file_name='a.jpg', height=SIZE[0], width=SIZE[1])]
    images += [dict(id=9, file_name='b.jpg', height=8, width=6)]
    large, small, crowd = box(2, 2, 22, 14), box(8, 6, 12, 10), box(0, 0, 30, 5)
    code = mask.encode(np.asfortranarray(small[1].astype(np.uint8)))
    runs = np.diff(np.flatnonzero(np.diff([2, *crowd[1].ravel('F'), 2]))).tolist()
    counts = runs if not crowd[1][0, 0] else [0, *runs]
    parts = [
        (90, 0, 16, dict(size=SIZE, counts=code['counts'].decode())),  # toothbrush, the last
        (3, 0, 240, large[0]),  # car, below what is smaller
        (1, 1, 150, dict(size=SIZE, counts=counts)),  # a crowd does not count
    ]
    annotations = [
        dict(image_id=7, category_id=identity, iscrowd=crowd, area=area, segmentation=segmentation)
        for identity, crowd, area, segmentation in parts
    ]
    content = dict(
        images=images, annotations=annotations, categories=[dict(id=identity) for identity in IDS]
    )
    for split in ('train2014', 'val2014'):
        (root / f'annotations/instances_{split}.json').write_text(json.dumps(content))
        (root / split).mkdir()
        (root / split / 'a.jpg').touch()
    expected = np.zeros(SIZE, np.uint8)
    for pixels, label in ((crowd[1], 255), (large[1], 3), (small[1], 80)):
        expected[pixels] = label
    return root, expected


def test_masks_are_those_of_the_instances(coco):
    root, expected = coco
    summary = convert_dataset('coco', root)
    assert (summary.converted, summary.skipped, summary.failed) == (4, 0, 0)
    for split in ('train2014', 'val2014'):
        assert np.array_equal(read_labels(root / f'semantic/{split}/a.png'), expected)
        assert not read_labels(root / f'semantic/{split}/b.png').any()
    names, amounts = summary.counts.names, summary.counts.amounts
    counted = {name: n for name, n in zip(names, amounts.tolist(), strict=True) if n}
    values = {'background': 0, 'car': 3, 'toothbrush': 80, 'ignored': 255}
    sizes = {name: 2 * (expected == value).sum() for name, value in values.items()}
    assert counted == {**sizes, 'background': sizes['background'] + 2 * 48}


def test_what_is_there_stays_and_what_is_damaged_is_made_again(coco):
    root, _ = coco
    convert_dataset('coco', root)
    before = digests(root)
    assert convert_dataset('coco', root).converted == 0
    file = root / 'semantic/val2014/a.png'
    file.write_bytes(file.read_bytes()[:50])
    assert convert_dataset('coco', root, nproc=2).converted == 1
    assert digests(root) == before


def test_another_folder_and_a_broken_segmentation(coco, tmp_path):
    root, _ = coco
    file = root / 'annotations/instances_val2014.json'
    content = json.loads(file.read_text())
    content['annotations'][0]['segmentation'] = {'size': SIZE}
    file.write_text(json.dumps(content))
    summary = convert_dataset('coco', root, tmp_path / 'out')
    (source,) = summary.failures
    assert source == str(root / 'val2014/a.jpg') and summary.converted == 3
    assert not (root / 'semantic').exists()
    assert (tmp_path / 'out/train2014/a.jpg').exists()  # a link, for the configs
    report = json.loads((tmp_path / 'out/conversion.json').read_text())
    assert [*report['failures']] == [source] and report['images']['car'] == 1
    assert report['remarks'] == {str(root / f'{split}2014/b.jpg'): 'is missing' for split in SPLITS}


def test_an_empty_segmentation_draws_nothing(coco):
    root, expected = coco
    file = root / 'annotations/instances_val2014.json'
    content = json.loads(file.read_text())
    content['annotations'].append({**content['annotations'][0], 'segmentation': []})
    file.write_text(json.dumps(content))
    assert not convert_dataset('coco', root).failures
    assert np.array_equal(read_labels(root / 'semantic/val2014/a.png'), expected)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'is no file of instances of COCO: JSONDecodeError'),
        ('{"images": []}', "is no file of instances of COCO: KeyError: 'categories'"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', 'has 1 categories, COCO'),
    ],
)
def test_other_files_are_refused(text, message, coco):
    root, _ = coco
    (root / 'annotations/instances_train2014.json').write_text(text)
    with pytest.raises(InputError, match=message):
        convert_dataset('coco', root)
    assert not (root / 'semantic').exists()
