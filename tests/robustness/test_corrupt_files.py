"""Files of users with random damage: each is read, or refused in one line."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from soma.checkpoints import open_checkpoint
from soma.checkpoints.convert import convert_dinov2_file
from soma.checkpoints.open import load_plain, write_with_card
from soma.datasets import DomainVOCDataset
from soma.datasets.label_reader import reader_of_values
from soma.datasets.labels import CITYSCAPES_TO_TRAIN
from soma.datasets.lists import read_names
from soma.datasets.prepare.check_boxes import BoxPair, check_box_pair
from soma.datasets.prepare.check_files import Pair, check_pair
from soma.datasets.prepare.convert_files import LabelJob, run_job
from soma.engine.checks import check_config
from soma.io.checkpoint_files import card_of, read_checkpoint, write_checkpoint
from soma.models.build import build_model, use_plain_model
from soma.utils.cli import command
from soma.utils.config import load_config

# Where the damage is, as a part of the length; what stands there then; whether the rest is there.
DAMAGE = st.tuples(st.floats(0, 1), st.binary(max_size=12), st.booleans())
FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def damaged(content, damage):
    place, middle, rest = damage
    start = int(place * len(content))
    return content[:start] + middle + (content[start + len(middle) :] if rest else b'')


@contextmanager
def damage_to(file, damage):
    """Damage a file that is shared; it is whole again afterwards."""
    content = file.read_bytes()
    file.write_bytes(damaged(content, damage))
    try:
        yield
    finally:
        file.write_bytes(content)


def accepts_or_says(function, *arguments):
    """Run what a script does; it ends well, or with a message of one line."""
    try:
        with command():
            function(*arguments)
    except SystemExit as end:
        assert isinstance(end.code, str) and end.code.startswith('error: '), end.code
        assert end.code.isprintable() and len(end.code) > len('error: ')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('corrupt')


@pytest.fixture(scope='module')
def config(make_tiny, folder):
    return make_tiny(folder / 'work')


@pytest.fixture(scope='module')
def sample(config, street_data, folder):
    """Read the first training sample of a copy of the data, and check it as check_data does."""
    root = folder / 'gta'
    shutil.copytree(street_data, root)
    init_default_scope('mmseg')
    dataset = DATASETS.build({**config.train_dataloader.dataset, 'data_root': str(root)})
    image, label = root / 'images/00000.png', root / 'labels/00000_labelTrainIds.png'

    def read():
        faults, _ = check_pair(Pair(image, label, reader_of_values(19)))
        assert all(fault.text.isprintable() for fault in faults)
        dataset[0]

    return read, image, label


@FEW
@given(damage=DAMAGE)
@example(damage=(0.0, b'', False))
@pytest.mark.parametrize('which', ['image', 'label'])
def test_images_and_labels(sample, which, damage):
    read, image, label = sample
    with damage_to(image if which == 'image' else label, damage):
        accepts_or_says(read)


@FEW
@given(damage=DAMAGE)
def test_jpeg_images_of_boxes(box_data, folder, damage):
    source = box_data / 'day/VOC2007'
    image = folder / 'damaged.jpg'
    image.write_bytes(damaged((source / 'JPEGImages/0.jpg').read_bytes(), damage))
    pair = BoxPair(image, source / 'Annotations/0.xml', ('bus', 'car'))
    accepts_or_says(check_box_pair, pair)


@pytest.fixture(scope='module')
def boxes(box_data, folder):
    root = folder / 'day'
    shutil.copytree(box_data / 'day', root)
    return root / 'VOC2007/Annotations/0.xml'


@FEW
@given(damage=DAMAGE)
@example(damage=(0.5, b'\x00<bndbox>', True))
def test_xml_files(boxes, damage):
    def read():
        image = boxes.parents[1] / 'JPEGImages/0.jpg'
        check_box_pair(BoxPair(image, boxes, ('bus', 'car')))
        DomainVOCDataset(
            domain='day',
            data_root=str(boxes.parents[2]),
            ann_file='VOC2007/ImageSets/Main/all.txt',
            data_prefix=dict(sub_data_root='VOC2007/'),
            pipeline=[],
        )

    with damage_to(boxes, damage):
        accepts_or_says(read)


@FEW
@given(damage=DAMAGE)
def test_polygons(folder, damage):
    pytest.importorskip('cityscapesscripts')
    polygon = dict(label='road', polygon=[[0, 0], [9, 0], [9, 9]])
    content = json.dumps(dict(imgHeight=12, imgWidth=16, objects=[polygon])).encode()
    source = folder / 'a_gtFine_polygons.json'
    source.write_bytes(damaged(content, damage))
    target = folder / 'a_labelTrainIds.png'
    outcome = run_job(LabelJob(source, target, CITYSCAPES_TO_TRAIN, folder / 'no.png'))
    assert outcome.failure or Image.open(target)
    target.unlink(missing_ok=True)


@FEW
@given(content=st.binary(max_size=60))
@example(content=b'../../outside\n')
@example(content=b'/etc/passwd\n')
@example(content=b'a\x1b[31mb\n')
def test_lists(folder, content):
    file = folder / 'list.txt'
    file.write_bytes(content)

    def read():
        for name in read_names(file, 'images', '.png'):
            assert (folder / 'images' / name).resolve().is_relative_to(folder / 'images')

    accepts_or_says(read)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**12),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(['type', 'a']), st.text(max_size=3), max_size=2),
)
KEYS = [
    'train_cfg.max_iters',
    'train_dataloader.batch_size',
    'optim_wrapper.optimizer',
    'optim_wrapper.optimizer.lr',
    'param_scheduler.0.end',
    'model',
    'model.backbone.adapter',
    'launcher',
]


@settings(FEW, max_examples=12)
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_values_of_configs(config, folder, key, value):
    file = folder / 'tiny.py'
    if not file.exists():
        config.dump(file)
    accepts_or_says(lambda: check_config(load_config(file, {key: value})))


@FEW
@given(content=st.binary(max_size=80))
def test_config_files(folder, content):
    file = folder / 'random.py'
    file.write_bytes(content)
    accepts_or_says(load_config, file)


@pytest.fixture(scope='module')
def model(config):
    use_plain_model(config)
    return build_model(config)


@pytest.fixture(scope='module')
def checkpoints(make_tiny, folder, public_file):
    """An adapter file, with and without its head, and pretrained weights."""
    from bad_files import make_checkpoints

    make_checkpoints(folder, make_tiny(folder / 'work'), public_file)
    return [folder / name for name in ('adapter.safetensors', 'merged.pth', 'base.pth')]


@FEW
@given(which=st.integers(0, 2), damage=DAMAGE)
def test_checkpoints(checkpoints, model, folder, which, damage):
    source = checkpoints[which]
    file = folder / f'damaged{source.suffix}'
    file.write_bytes(damaged(source.read_bytes(), damage))
    accepts_or_says(load_plain, model, file, checkpoints[2], True)
    accepts_or_says(convert_dinov2_file, file, folder / 'converted.pth', (32, 32), 8)


@FEW
@given(damage=DAMAGE)
def test_safetensors_headers(checkpoints, folder, damage):
    """The damage is in the header alone, whose length stays right."""
    content = checkpoints[0].read_bytes()
    length = int.from_bytes(content[:8], 'little')
    header = damaged(content[8 : 8 + length], (damage[0], damage[1], True))[:length]
    file = folder / 'header.safetensors'
    file.write_bytes(content[:8] + header + content[8 + length :])
    accepts_or_says(lambda: open_checkpoint(file).layers)


CARD_VALUES = st.one_of(VALUES, st.text(max_size=30), st.lists(st.text(max_size=5), max_size=3))


@FEW
@given(data=st.data())
def test_cards(checkpoints, folder, data):
    content = read_checkpoint(checkpoints[0])
    card = card_of(content)
    key = data.draw(st.sampled_from(sorted(card)))
    card[key] = data.draw(CARD_VALUES)
    file = folder / 'card.safetensors'
    write_checkpoint(content, file)

    def use():
        checkpoint = open_checkpoint(file).with_base(checkpoints[2], force=True)
        write_with_card(checkpoint.plain(), checkpoint.card, Path(folder, 'out.pth'))

    accepts_or_says(use)
