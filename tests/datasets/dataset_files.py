"""What tests of files on disk share."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soma.datasets.lists import write_names
from soma.datasets.voc_files import VOCBox, write_voc


def read_labels(path):
    with Image.open(path) as image:
        return np.array(image)


def png(image):
    """The bytes of a PNG file of an array or an image."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, 'png')
    return buffer.getvalue()


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(root).rglob('*'))
        if path.is_file()
    }


VOC_SIZE = (100, 60)
VOC_BOXES = [VOCBox('car', (11, 21, 60, 50)), VOCBox('person', (71, 11, 80, 50))]


def write_voc_data(root, lists):
    """Images of noise with a car and a person each, in folders of Pascal VOC.

    Args:
        root: Folder of the dataset.
        lists: Names of the images by list: ``{'daytime_clear/train': ['a', 'b']}``.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (*VOC_SIZE[::-1], 3), np.uint8)
    for place, names in lists.items():
        folder, name = place.split('/')
        folder = root / folder / 'VOC2007'
        write_names(folder / f'ImageSets/Main/{name}.txt', names)
        (folder / 'JPEGImages').mkdir(exist_ok=True)
        for name in names:
            Image.fromarray(pixels).save(folder / f'JPEGImages/{name}.jpg')
            write_voc(folder / f'Annotations/{name}.xml', f'{name}.jpg', VOC_SIZE, VOC_BOXES)


COCO_SIZE = (100, 60)


def write_coco_data(root, names=('a.jpg', 'night/b.JPG'), **keys):
    """Images of noise with a ship and a tug each, and ``annotations.json``.

    Args:
        root: Folder of the dataset.
        names: Names of the images below ``images``.
        keys: What replaces the keys of the file; None takes one out.

    Returns:
        What is in the file.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (*COCO_SIZE[::-1], 3), np.uint8)
    content = dict(images=[], categories=[dict(id=7, name='tug'), dict(id=3, name='ship')])
    boxes = {3: [10, 20, 50, 30], 7: [70, 10, 10, 40.5]}
    annotations = []
    for index, name in enumerate(names, 5):
        file = root / 'images' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        size = dict(width=COCO_SIZE[0], height=COCO_SIZE[1])
        content['images'].append(dict(id=index, file_name=name, **size))
        for category, box in boxes.items():
            entry = dict(id=len(annotations) + 1, image_id=index, category_id=category, bbox=box)
            annotations.append(entry)
    content |= dict(annotations=annotations) | keys
    content = {key: value for key, value in content.items() if value is not None}
    (root / 'annotations.json').write_text(json.dumps(content))
    return content


def check(run_here, data, *options, chart=False):
    """Run ``check_data.py`` on ``config.py`` beside the data; returns its exit code and report.

    The chart takes most of the time of a small one.
    """
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as exit:
        if not chart:
            patch.setattr('soma.datasets.prepare.check_report.save_counts_chart', lambda *_: None)
        run_here('check_data.py', data.parent / 'config.py', '--out', data.parent / 'out', *options)
    return exit.value.code, json.loads((data.parent / 'out/report.json').read_text())
