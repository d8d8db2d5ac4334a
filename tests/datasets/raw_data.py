"""Small data in the raw layouts of all datasets: label maps in which every raw value occurs."""

import json
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from mmseg.datasets import CityscapesDataset
from PIL import Image

from soma.datasets.lists import write_names
from soma.datasets.voc_files import VOCBox, write_voc

# Train id of each raw value, written down apart from the tables of the package.
_MAPILLARY = (
    '255 255 1 4 255 255 3 0 0 1 0 1 255 0 0 1 255 2 255 11 12 12 12 0 0 255 255 10 255 9 8 255 '
    '255 255 255 255 255 255 255 255 255 255 255 255 5 5 7 5 6 7 7 255 18 255 15 13 255 17 16 255 '
    '255 14 255 255 255 255'
)
_SYNTHIA = '255 10 2 0 1 4 8 5 13 7 11 18 17 255 255 6 9 12 14 15 16 3 255'
_CITYSCAPES = (
    '255 255 255 255 255 255 255 0 1 255 255 2 3 4 255 255 255 5 255 6 7 8 9 10 11 12 13 14 15 255 '
    '255 16 17 18'
)
_CAMVID = '10 2 5 0 1 8 7 4 13 11 12 255'
_IDD = {  # csTrainId by the names of ids 0 to 39
    **{'road': 0, 'parking': 255, 'drivable fallback': 255, 'sidewalk': 1, 'rail track': 255},
    **{'non-drivable fallback': 9, 'person': 11, 'animal': 255, 'rider': 12, 'motorcycle': 17},
    **{'bicycle': 18, 'autorickshaw': 255, 'car': 13, 'truck': 14, 'bus': 15, 'caravan': 255},
    **{'trailer': 255, 'train': 16, 'vehicle fallback': 255, 'curb': 255, 'wall': 3, 'fence': 4},
    **{'guard rail': 255, 'billboard': 255, 'traffic sign': 7, 'traffic light': 6, 'pole': 5},
    **{'polegroup': 255, 'obs-str-bar-fallback': 255, 'building': 2, 'bridge': 255},
    **{'tunnel': 255, 'vegetation': 8, 'sky': 10, 'fallback background': 255, 'unlabeled': 255},
    **{'ego vehicle': 255, 'rectification border': 255, 'out of roi': 255, 'license plate': 255},
}
TABLES = {
    name: dict(enumerate(map(int, text.split())))
    for name, text in {
        'camvid': _CAMVID,
        'cityscapes': _CITYSCAPES,
        'gta': f'{_CITYSCAPES} 255',  # licence plates
        'mapillary': _MAPILLARY,
        'synthia': _SYNTHIA,
    }.items()
}
TABLES['idd'] = dict(enumerate(_IDD.values()))
TABLES['train'] = {**{value: value for value in range(19)}, 255: 255}
TABLES['urbansyn'] = {**TABLES['train'], 19: 255}
CONDITIONS = ('fog', 'night', 'rain', 'snow')
WEATHERS = ('daytime_clear', 'Night-Sunny', 'dusk_rainy', 'night_rainy', 'daytime_foggy')
_SPLITS = {
    **dict.fromkeys(('gta', 'synthia', 'urbansyn'), ('train',)),
    'cityscapes': ('train', 'val', 'test'),
    **dict.fromkeys(('bdd100k', 'mapillary'), ('train', 'val')),
    **dict.fromkeys(CONDITIONS, ('val', 'test')),
    **dict.fromkeys(('idd', 'muses', 'camvid'), ('train', 'val')),
    **dict.fromkeys(('dark_zurich', 'night_driving'), ('val',)),
    'foggy_zurich': ('val', 'test'),
}
DOMAINS = (*_SPLITS, *WEATHERS)
_BLOCK = 4  # pixels of one value, each way


def raw_labels(domain, split, index, size):
    """The raw values of a sample ``(height, width)``: blocks in random order, each value occurs."""
    table = TABLES[_table(domain)]
    rng = np.random.default_rng([crc32(domain.encode()), len(split), index])
    rows, columns = size[1] // _BLOCK, size[0] // _BLOCK
    assert rows * columns >= len(table)
    blocks = rng.permutation(np.resize(list(table), rows * columns)).reshape(rows, columns)
    return blocks.astype(np.uint8).repeat(_BLOCK, 0).repeat(_BLOCK, 1)


def train_ids(domain, split, index, size):
    """What a conversion must make of a sample's labels."""
    table = np.full(256, 77, np.uint8)
    known = TABLES[_table(domain)]
    table[list(known)] = list(known.values())
    return table[raw_labels(domain, split, index, size)]


def write_raw_data(root, size, images=2, val_images=2, test_images=0, domains=DOMAINS):
    """Write data in the raw layouts of the datasets, below folders of their names.

    Args:
        root: Data folder.
        size: Width and height, multiples of 4.
        images: Images to train on, of each domain that has some.
        val_images: Images to test on.
        test_images: Images without labels.
        domains: Out of ``DOMAINS``; with all of them, COCO's instances too.
    """
    counts = {'train': images, 'val': val_images, 'test': test_images}
    for domain in domains:
        for split in _SPLITS.get(domain, ()):
            for index in range(counts[split]):
                _write_sample(Path(root), domain, split, index, size)
        if domain == 'foggy_zurich':  # the images that have labels
            names = [f'RGB/GP010229/1508040913.0_frame_val{i}.png' for i in range(val_images)]
            lists = Path(root) / domain / 'lists_file_names'
            write_names(lists / 'RGB_testv2_filenames.txt', names)
        if domain in WEATHERS:
            _write_weather(Path(root) / 'diverseWeather' / domain / 'VOC2007', size, counts)
    if set(DOMAINS) == set(domains):
        _write_coco(Path(root) / 'coco', size)


def _table(domain):
    known = dict.fromkeys(('bdd100k', 'foggy_zurich'), 'train')
    adverse = (*CONDITIONS, 'dark_zurich', 'night_driving', 'muses')
    known |= dict.fromkeys(adverse, 'cityscapes')
    return known.get(domain, domain)


def _write_sample(root, domain, split, index, size):
    image, labels = _files(domain, split, index)
    raw = raw_labels(domain, split, index, size)
    _write_image(root / image, raw, index)
    for path, save in labels.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        save(root / path, raw, train_ids(domain, split, index, size))


def _files(domain, split, index):
    """The image of a sample, and what writes its label files."""
    if domain == 'gta':
        name = f'{index + 1:05d}.png'
        return f'gta/images/{name}', {f'gta/labels/{name}': _palette}
    if domain == 'synthia':
        name = f'{index:07d}.png'
        return f'synthia/RGB/{name}', {f'synthia/GT/LABELS/{name}': _red}
    if domain == 'urbansyn':
        name = f'{index + 1:04d}.png'
        return f'urbansyn/rgb/rgb_{name}', {f'urbansyn/ss/ss_{name}': _with_alpha}
    if domain == 'cityscapes':
        town = {'train': 'lindau', 'val': 'seeheim', 'test': 'burgstadt'}[split]
        name = f'{split}/{town}/{town}_{index:06d}_000019'
        labels = {'labelIds.png': _plain, 'polygons.json': _polygons} if split != 'test' else {}
        return f'cityscapes/leftImg8bit/{name}_leftImg8bit.png', {
            f'cityscapes/gtFine/{name}_gtFine_{kind}': save for kind, save in labels.items()
        }
    if domain == 'bdd100k':
        name = f'{split}/{split}-{index:05d}'
        label = f'bdd100k/labels/sem_seg/masks/{name}.png'
        return f'bdd100k/images/10k/{name}.jpg', {label: _plain}
    if domain == 'mapillary':
        folder = f'mapillary/{split}ing' if split == 'train' else 'mapillary/validation'
        label = f'{folder}/v1.2/labels/{index:05d}.png'
        return f'{folder}/images/{index:05d}.jpg', {label: _palette}
    if domain == 'idd':
        name = f'{split}/{index % 2}/{index:06d}'
        labels = {f'idd/gtFine/{name}_gtFine_polygons.json': _idd_polygons}
        return f'idd/leftImg8bit/{name}_leftImg8bit.png', labels
    if domain == 'camvid':
        drives = {
            'train': ('train/0006R0_f', 'train/0016E5_'),
            'val': ('test/0001TP_', 'test/Seq05VD_f', 'val/0016E5_'),
        }
        folder, drive = drives[split][index % len(drives[split])].split('/')
        name = f'{drive}{index:05d}.png'
        return f'camvid/{folder}/{name}', {f'camvid/{folder}annot/{name}': _plain}
    if domain == 'foggy_zurich':
        name = f'GP010229/1508040913.0_frame_{split}{index}.png'
        labels = {f'{domain}/gt_labelTrainIds/{name}': _plain} if split != 'test' else {}
        return f'{domain}/RGB/{name}', labels
    if domain in _ADVERSE:
        image, label = (f'{domain}/{path}' for path in _ADVERSE[domain])
        kinds = {'labelIds': _plain, 'labelTrainIds': _translated}
        labels = {label.format(split, index, kind): save for kind, save in kinds.items()}
        return image.format(split, index), labels
    name = f'{domain}/{split}/{domain.upper()}0000/{domain.upper()}0000_frame_{index + 1:06d}'
    kinds = {'labelTrainIds': _translated, 'labelIds': _plain} if split != 'test' else {}
    labels = {f'acdc/gt/{name}_gt_{kind}.png': save for kind, save in kinds.items()}
    return f'acdc/rgb_anon/{name}_rgb_anon.png', labels


# Where a sample's image and labels are, by split, index and kind of labels.
_ADVERSE = {
    'dark_zurich': (
        'rgb_anon/{}/night/GOPR0356/GOPR0356_frame_{:06d}_rgb_anon.png',
        'gt/{}/night/GOPR0356/GOPR0356_frame_{:06d}_gt_{}.png',
    ),
    'night_driving': (  # its test images are those to test on
        'leftImg8bit/test/night/{}_frame_{:04d}_leftImg8bit.png',
        'gtCoarse_daytime_trainvaltest/test/night/{}_frame_{:04d}_gtCoarse_{}.png',
    ),
    'muses': (
        'frame_camera/{}/fog/day/REC0475_frame_{:06d}_frame_camera.png',
        'gt_semantic/{}/fog/day/REC0475_frame_{:06d}_gt_{}.png',
    ),
}


def _write_image(path, labels, seed):
    """An image that shows the labels in grey, with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 60, (*labels.shape, 3))
    Image.fromarray((labels[..., None] * 3 % 190 + noise).astype(np.uint8)).save(path)


def _plain(path, raw, translated):
    Image.fromarray(raw).save(path)


def _translated(path, raw, translated):
    Image.fromarray(translated).save(path)


def _palette(path, raw, translated):
    image = Image.fromarray(raw)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    image.save(path)


def _with_alpha(path, raw, translated):
    image = Image.fromarray(raw)
    image.putalpha(255)
    image.save(path)


def _red(path, raw, translated):
    """16-bit colours: the class in red, an instance in green (OpenCV writes blue first)."""
    red = raw.astype(np.uint16)
    assert cv2.imwrite(str(path), np.dstack([np.zeros_like(red), np.full_like(red, 300), red]))


def _polygons(path, raw, translated):
    names = {**dict(enumerate(CityscapesDataset.METAINFO['classes'])), 255: 'static'}
    _write_polygons(path, translated, names)


def _idd_polygons(path, raw, translated):
    _write_polygons(path, raw, list(_IDD))


def _write_polygons(path, values, names):
    end, objects = _BLOCK - 1, []
    for y in range(0, values.shape[0], _BLOCK):
        for x in range(0, values.shape[1], _BLOCK):
            corners = [[x, y], [x + end, y], [x + end, y + end], [x, y + end]]
            objects.append({'label': names[int(values[y, x])], 'polygon': corners})
    content = {'imgHeight': values.shape[0], 'imgWidth': values.shape[1], 'objects': objects}
    path.write_text(json.dumps(content))


def _write_weather(folder, size, counts):
    """A domain of Diverse Weather: two boxes in each image.

    Clear daytime has images to train on; the others are tested on a list of that name.
    """
    lists = {'train.txt': 'train', 'test.txt': 'val'}
    lists = lists if folder.parent.name == 'daytime_clear' else {'train.txt': 'val'}
    width, height = size
    for file, split in lists.items():
        names = [f'{split}-{index:05d}' for index in range(counts[split])]
        write_names(folder / 'ImageSets/Main' / file, names)
        for index, name in enumerate(names):
            _write_image(folder / f'JPEGImages/{name}.jpg', np.zeros(size[::-1], np.uint8), index)
            boxes = [
                VOCBox('car', (1 + index, 3, width // 2, height // 2)),
                VOCBox('person', (width // 2, height // 4, width - index, height)),
            ]
            write_voc(folder / f'Annotations/{name}.xml', f'{name}.jpg', size, boxes)


def _write_coco(folder, size):
    """An image a split, the left half of which is a zebra."""
    width, height = size
    zebra = [0, 0, width / 2, 0, width / 2, height, 0, height]
    common = dict(image_id=1, iscrowd=0, area=1, segmentation=[zebra])
    categories = [dict(id=identity) for identity in range(1, 81)]  # the real ones leave some out
    image = dict(id=1, file_name='1.jpg', height=height, width=width)
    annotations = [dict(common, category_id=23)]
    content = dict(images=[image], annotations=annotations, categories=categories)
    (folder / 'annotations').mkdir(parents=True)
    for split in ('train2014', 'val2014'):
        (folder / f'annotations/instances_{split}.json').write_text(json.dumps(content))
        _write_image(folder / split / '1.jpg', np.zeros(size[::-1], np.uint8), 0)
