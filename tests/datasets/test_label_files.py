"""Label files as public datasets write them: read right, or refused by name."""

import json

import cv2
import numpy as np
import pytest
from dataset_files import png, read_labels
from PIL import Image

from soma.datasets.label_files import read_labels as read_file
from soma.datasets.labels import CITYSCAPES_TO_TRAIN
from soma.datasets.prepare.convert import convert_dataset


def labels_file(root, content):
    """A GTA with one image and the label file given."""
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    Image.new('RGB', (4, 3)).save(root / 'images/00001.png')
    (root / 'labels/00001.png').write_bytes(content)
    return convert_dataset('gta', root)


OPAQUE = np.full((3, 4), 65535, np.uint16)
VALUES = np.array([[7, 8, 11, 33], [23, 24, 26, 0], [7, 7, 34, 4]], np.uint8)


def palette(values):
    image = Image.fromarray(values)
    image.putpalette(bytes(range(256)) * 3)
    return image


@pytest.mark.parametrize(
    'content',
    [
        png(VALUES),
        png(VALUES.astype(np.uint16)),
        png(palette(VALUES)),
        png(np.dstack([VALUES, np.full_like(VALUES, 255)])),
        png(np.dstack([VALUES] * 3)),
        png(np.dstack([VALUES] * 3 + [np.full_like(VALUES, 255)])),
        cv2.imencode('.png', np.dstack([VALUES] * 3).astype(np.uint16))[1].tobytes(),
        cv2.imencode('.png', np.dstack([*[VALUES.astype(np.uint16)] * 3, OPAQUE]))[1].tobytes(),
    ],
    ids=[
        *('8 bit', '16 bit', 'palette', 'alpha', 'grey', 'grey alpha', '16 bit grey'),
        '16 bit grey alpha',
    ],
)
def test_labels_of_every_kind_are_read_right(tmp_path, content):
    summary = labels_file(tmp_path, content)
    assert summary.converted == 1 and not summary.failures
    expected = CITYSCAPES_TO_TRAIN[VALUES]
    assert np.array_equal(read_labels(tmp_path / 'labels/00001_labelTrainIds.png'), expected)


TRANSPARENT = np.dstack([VALUES, np.where(VALUES == 7, 0, 255).astype(np.uint8)])
COLOURS = np.dstack([VALUES, VALUES, VALUES // 2])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (png(TRANSPARENT), 'transparent in places'),
        (png(COLOURS), 'is a colour image'),
        (png(np.full((3, 4), 77, np.uint8)), 'holds 77, which the dataset does not define'),
        (png(np.full((3, 4), 300, np.uint16)), 'holds 300, which'),
        (png(VALUES)[:45], ''),
        (b'', 'is empty'),
        (b'text', 'is no image'),
    ],
    ids=['transparent', 'colour', 'unknown value', 'large value', 'cut off', 'empty', 'text'],
)
def test_labels_that_are_not_certain_are_reported_not_made(tmp_path, content, message):
    summary = labels_file(tmp_path, content)
    assert summary.converted == 0
    ((path, failure),) = summary.failures.items()
    assert path.endswith('labels/00001.png') and message in failure and failure
    assert not list(tmp_path.rglob('*TrainIds*'))
    report = json.loads((tmp_path / 'conversion.json').read_text())
    assert report['failures'] == summary.failures


def test_few_grey_levels_are_not_stretched(tmp_path):
    few = VALUES % 12
    image = Image.fromarray(few)
    image.save(tmp_path / 'x.png', bits=4)
    with Image.open(tmp_path / 'x.png') as stored:
        stored.load()
    assert np.array_equal(read_file(tmp_path / 'x.png'), few)


def test_other_sizes_are_reported(tmp_path):
    summary = labels_file(tmp_path, png(VALUES[:, :2]))
    assert summary.converted == 1
    assert list(summary.remarks.values()) == ['is 2 x 3 pixels, its image 4 x 3']
    assert convert_dataset('gta', tmp_path).remarks == summary.remarks
    (tmp_path / 'images/00001.png').unlink()
    (remark,) = convert_dataset('gta', tmp_path).remarks.values()
    assert remark.startswith('has no image')
