"""Labels of one's own: names, values, colours, depths, photos that lie."""

from io import BytesIO

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from soma.datasets.label_files import turn
from soma.datasets.label_reader import LabelError, LabelReader, reader_of_map
from soma.datasets.prepare.check import check_config
from soma.io.files import InputError

NAMES = ['water', 'quay', 'ship']
COLOURS = [[0, 0, 128], [128, 128, 128], [255, 0, 0]]
LABELS = np.array([[0, 1, 2, 1], [2, 2, 0, 255]], np.uint8)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def write(root, labels, image=None, name='a', **options):
    for folder in ('images', 'labels'):
        (root / folder).mkdir(exist_ok=True)
    if not isinstance(labels, Image.Image):
        labels = Image.fromarray(labels)
    labels.save(root / f'labels/{name}.png', **options)
    image = image or Image.new('RGB', labels.size)
    image.save(root / f'images/{name}.jpg', exif=image.getexif())


def config_of(root, **options):
    return {
        **dict(type='DomainDataset', domain='harbour', data_root=str(root), pipeline=LOAD),
        'data_prefix': dict(img_path='images', seg_map_path='labels'),
        **dict(classes=NAMES, serialize_data=False),
        **options,
    }


def load(root, **options):
    return DATASETS.build(config_of(root, **options))[0]['gt_seg_map']


def colour_mask(labels, void=(9, 9, 9)):
    table = np.zeros((256, 3), np.uint8)
    table[: len(COLOURS)], table[255] = COLOURS, void
    return table[labels]


def palette_image(labels):
    image = Image.fromarray(labels, 'P')
    image.putpalette([i % 7 for i in range(768)])
    return image


MASKS = {  # each holds LABELS, in its way
    'grey': LABELS,
    'palette': palette_image(LABELS),
    'grey as colours': np.dstack([LABELS] * 3),
    'with alpha': np.dstack([LABELS] * 3 + [np.full_like(LABELS, 255)]),
    'grey with alpha': Image.merge('LA', [Image.fromarray(LABELS), Image.new('L', (4, 2), 255)]),
    '16 bits': LABELS.astype(np.uint16),
}


@pytest.mark.parametrize('kind', MASKS)
def test_values_in_files_of_any_kind(tmp_path, kind):
    write(tmp_path, MASKS[kind])
    labels = load(tmp_path)
    assert labels.dtype == np.uint8 and np.array_equal(labels, LABELS)


def test_few_bits(tmp_path):
    two = np.array([[0, 1, 1, 0], [1, 1, 0, 0]], np.uint8)
    write(tmp_path, Image.fromarray(two * 255).convert('1'))
    assert np.array_equal(load(tmp_path), two)
    four = np.array([[0, 1, 2, 0], [1, 2, 0, 0]], np.uint8)
    for mode in ('P', 'L'):
        Image.fromarray(four, mode).save(tmp_path / 'labels/a.png', bits=4)
        assert np.array_equal(load(tmp_path), four)


def test_values_that_are_merged_and_left_out(tmp_path):
    raw = np.array([[7, 300, 8, 300], [8, 9, 7, 1]], np.uint16)
    write(tmp_path, raw)
    expected = np.array([[0, 1, 2, 1], [2, 2, 0, 255]])
    names = {7: 'water', 300: 'quay', 8: 'ship', 9: 'ship'}
    assert np.array_equal(load(tmp_path, label_map={**names, 1: None}), expected)
    assert np.array_equal(load(tmp_path, label_map={**names, '*': None}), expected)
    rest = load(tmp_path, label_map={**names, '*': 'water'})
    assert np.array_equal(rest, np.where(expected == 255, 0, expected))
    with pytest.raises(InputError, match=r"the labels hold 1, which label_map .* or '\*'.*\(1 pix"):
        load(tmp_path, label_map=names)
    other = load(tmp_path, label_map={**names, 1: None}, ignore_index=200)
    assert np.array_equal(other, np.where(expected == 255, 200, expected))


def test_colours(tmp_path):
    write(tmp_path, colour_mask(LABELS))
    by_colour = {tuple(colour): name for colour, name in zip(COLOURS, NAMES, strict=True)}
    assert np.array_equal(load(tmp_path, label_map={**by_colour, (9, 9, 9): None}), LABELS)
    assert np.array_equal(load(tmp_path, label_map={**by_colour, '*': None}), LABELS)
    with pytest.raises(InputError, match=r'hold \(9, 9, 9\), which label_map does not name'):
        load(tmp_path, label_map='palette', palette=COLOURS)
    known = np.where(LABELS == 255, 2, LABELS)
    write(tmp_path, Image.fromarray(colour_mask(known)).quantize(8))
    assert np.array_equal(load(tmp_path, label_map='palette', palette=COLOURS), known)
    assert np.array_equal(
        load(
            tmp_path,
            label_map='palette',
            classes=None,
            metainfo=dict(classes=NAMES, palette=COLOURS),
        ),
        known,
    )


def test_colours_of_classes_that_are_known(tmp_path):
    table = np.array([[128, 64, 128], [0, 0, 142]], np.uint8)  # Cityscapes' road and car
    write(tmp_path, table[[[0, 1], [1, 1]]])
    assert load(tmp_path, classes=['car', 'road'], label_map='palette').tolist() == [[1, 0], [0, 0]]


def test_names_of_cityscapes_may_stand_among_others(tmp_path):
    write(tmp_path, LABELS)
    for names in (['road', 'quay', 'car'], ['sky', 'road', 'car']):
        assert np.array_equal(load(tmp_path, classes=names), LABELS)
    mixed = dict(classes=None, metainfo=dict(classes=['road', 'quay', 'car']))
    assert np.array_equal(load(tmp_path, **mixed), LABELS)
    meta = DATASETS.build(config_of(tmp_path, **mixed)).metainfo  # theirs, and a bright one
    assert meta['palette'] == [[128, 64, 128], [86, 180, 233], [0, 0, 142]]
    chosen = load(tmp_path, classes=None, metainfo=dict(classes=['building', 'road']))
    assert chosen.tolist() == [[1, 255, 0, 255], [0, 0, 1, 255]]


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda p: Image.fromarray(LABELS).save(p, 'JPEG'), 'are a JPEG, which blurs classes'),
        (lambda p: Image.fromarray(colour_mask(LABELS)).save(p), 'are colours: say what each'),
        (
            lambda p: Image.merge('LA', [Image.fromarray(LABELS)] * 2).save(p),
            'are transparent in places',
        ),
        (
            lambda p: Image.fromarray(LABELS.astype(np.float32)).save(p, 'TIFF'),
            'have pixels of the kind F',
        ),
    ],
)
def test_labels_that_are_a_guess_are_refused(tmp_path, spoil, message):
    write(tmp_path, LABELS)
    spoil(tmp_path / 'labels/a.png')
    with pytest.raises(InputError, match=rf'a\.jpg with labels .*a\.png: the labels {message}'):
        load(tmp_path)
    (part,) = check_config(Config(dict(train_dataloader=dict(dataset=config_of(tmp_path)))))
    assert len(part.faults) == 1 and part.breaks and f'the labels {message}' in part.faults[0].text


def test_colours_of_16_bits_are_refused(tmp_path):
    import cv2

    write(tmp_path, LABELS)
    cv2.imwrite(str(tmp_path / 'labels/a.png'), np.dstack([LABELS.astype(np.uint16)] * 3))
    with pytest.raises(InputError, match='have 16 bits a colour'):
        load(tmp_path)


@pytest.mark.parametrize('tag', range(2, 9))
def test_a_photo_and_labels_that_lie_as_it_is_stored(tmp_path, tag):
    photo = Image.new('RGB', (4, 2))
    photo.getexif()[0x0112] = tag
    write(tmp_path, LABELS, photo)
    write(tmp_path, turn(LABELS, tag), photo, 'b')
    upright = np.asarray(Image.fromarray(LABELS)) if tag < 5 else turn(LABELS, tag)
    data = DATASETS.build(config_of(tmp_path))
    assert data[0]['img'].shape[:2] == upright.shape
    assert np.array_equal(data[0]['gt_seg_map'], upright)  # half turns are not told by sizes
    assert np.array_equal(data[1]['gt_seg_map'], turn(LABELS, tag))
    config = Config(dict(train_dataloader=dict(dataset=config_of(tmp_path))))
    (part,) = check_config(config)
    told = [fault.kind for fault in part.faults]  # where the sizes do not tell
    assert not part.breaks and told == (['turned'] * 2 if tag < 5 else [])


def test_turns_are_those_of_pillow():
    from PIL import ImageOps

    for tag in range(1, 9):
        image = Image.fromarray(LABELS)
        image.getexif()[0x0112] = tag
        assert np.array_equal(turn(LABELS, tag), np.asarray(ImageOps.exif_transpose(image)))


def test_the_step_is_found_wherever_it_stands(tmp_path):
    write(tmp_path, colour_mask(np.where(LABELS == 255, 0, LABELS)))
    pack = dict(type='PackDomainInputs')
    inner = [[dict(type='RandomFlip', prob=0.0)], [dict(type='mmseg.LoadAnnotations')], [pack]]
    tta = [LOAD[0], dict(type='TestTimeAug', transforms=inner)]
    options = dict(label_map='palette', palette=COLOURS)
    sample = DATASETS.build(config_of(tmp_path, pipeline=tta, **options))[0]
    assert sample['data_samples'][0].gt_sem_seg.data.unique().tolist() == [0, 1, 2]
    labels = load(tmp_path, pipeline=[LOAD[0], LoadAnnotations()], **options)
    assert labels.tolist() == [[0, 1, 2, 1], [2, 2, 0, 0]]
    with pytest.raises(InputError, match='leave imdecode_backend out'):
        load(tmp_path, pipeline=[dict(LOAD[1], imdecode_backend='cv2')])


def test_a_config_with_a_map_survives_its_file(tmp_path):
    label_map = {0: 'water', 1: 'quay', 2: 'ship', 255: None, '*': None}
    colours = {(0, 0, 1): 'water', (0, 1, 0): 'quay', (1, 0, 0): 'ship'}
    config = Config(dict(a=dict(label_map=label_map), b=dict(label_map=colours)))
    config.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.a.label_map == label_map and again.b.label_map == colours
    reader = reader_of_map(again.a.label_map, NAMES, None)
    assert (reader.meanings, reader.rest) == ({0: 0, 1: 1, 2: 2, 255: 255}, 255)


def test_check_counts_what_training_sees(tmp_path):
    write(tmp_path, np.array([[7, 8, 9, 9]], np.uint8))
    options = dict(label_map={7: 'water', 8: 'quay', 9: 'quay', 5: 'ship'})
    config = Config(dict(train_dataloader=dict(dataset=config_of(tmp_path, **options))))
    (part,) = check_config(config)
    assert part.counts.amounts.tolist() == [1, 3, 0, 0]
    assert part.notes == ['no label of the training data has ship']


def test_many_values_between_classes_hint_at_jpeg():
    file = BytesIO()
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(file, 'PNG')
    with pytest.raises(LabelError, match=r'hold 3, 4, 5, 6, 7, \.\.\.: .*; so many come of JPEG'):
        LabelReader({0: 0, 1: 1, 2: 2}, 3).read(file)
