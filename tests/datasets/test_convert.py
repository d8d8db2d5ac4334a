"""From toy streets on disk through the converters back to the ground truth."""

import hashlib
import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from soma.datasets.convert import convert_dataset
from soma.datasets.toy import DOMAIN_STYLES, render, sample_scene, write_toy_streets

SIZE = (128, 64)
SEED = 5


def read_labels(path):
    with Image.open(path) as image:
        return np.array(image)


def truth(domain, split, index):
    """The labels that a sample was written with."""
    rng = np.random.default_rng(
        [SEED, crc32(domain.encode()), ('train', 'val').index(split), index]
    )
    scene = sample_scene(rng)
    size = tuple(2 * n for n in SIZE) if domain == 'mapillary' else SIZE
    return render(scene, DOMAIN_STYLES[domain](rng), size, rng).labels


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(root).rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    report = write_toy_streets(root, 2, SIZE, SEED, val_images=2)
    # gta has no validation split, ACDC's conditions are only for validation
    assert report.images == 2 * (4 + 3 + 4)
    before = digests(root)
    for name in ('gta', 'cityscapes', 'mapillary'):
        assert convert_dataset(name, root / name).skipped == 0
    after = digests(root)
    assert {name: after[name] for name in before} == before, 'a source file was touched'
    return root


@pytest.mark.parametrize(
    ('path', 'domain', 'split', 'index'),
    [
        ('gta/labels/00002_labelTrainIds.png', 'gta', 'train', 1),
        (
            'cityscapes/gtFine/train/lindau/lindau_000000_000019_gtFine_labelTrainIds.png',
            'cityscapes',
            'train',
            1,
        ),
        (
            'cityscapes/gtFine/val/seeheim/seeheim_000000_000019_gtFine_labelTrainIds.png',
            'cityscapes',
            'val',
            0,
        ),
        ('bdd100k/labels/sem_seg/masks/val/toyval-00001.png', 'bdd100k', 'val', 1),
        ('mapillary/cityscapes_trainIdLabel/train/label/toy_00000.png', 'mapillary', 'train', 0),
        ('mapillary/cityscapes_trainIdLabel/val/label/toy_00001.png', 'mapillary', 'val', 1),
        *(
            (
                f'acdc/gt/{name}/val/TOYS0000/TOYS0000_frame_000002_gt_labelTrainIds.png',
                name,
                'val',
                1,
            )
            for name in ('fog', 'night', 'rain', 'snow')
        ),
    ],
)
def test_ground_truth_comes_back(data, path, domain, split, index):
    assert np.array_equal(read_labels(data / path), truth(domain, split, index))


def test_mapillary_validation_is_halved(data):
    whole = read_labels(data / 'mapillary/cityscapes_trainIdLabel/val/label/toy_00000.png')
    half = read_labels(data / 'mapillary/half/val_label/toy_00000.png')
    nearest = Image.fromarray(whole).resize(SIZE, Image.Resampling.NEAREST)
    assert np.array_equal(half, np.array(nearest))
    with Image.open(data / 'mapillary/half/val_img/toy_00000.jpg') as image:
        assert image.size == SIZE
    assert not (data / 'mapillary/half/val_img/toy_00002.jpg').exists()


def test_raw_encodings(data):
    with Image.open(data / 'gta/labels/00001.png') as image:
        assert image.mode == 'P' and image.size == SIZE
        assert 7 in np.unique(np.array(image))  # road
    with Image.open(data / 'mapillary/validation/v1.2/labels/toy_00000.png') as image:
        assert image.mode == 'P' and image.size == (2 * SIZE[0], 2 * SIZE[1])
    with Image.open(data / 'mapillary/validation/images/toy_00000.jpg') as image:
        assert image.size == (2 * SIZE[0], 2 * SIZE[1])


@pytest.mark.parametrize('name', ['gta', 'cityscapes', 'mapillary'])
def test_second_conversion_converts_nothing(data, name):
    before = digests(data)
    summary = convert_dataset(name, data / name)
    assert summary.converted == 0 and summary.skipped > 0
    assert digests(data) == before


def test_damaged_targets_are_made_again(data, tmp_path):
    convert_dataset('gta', data / 'gta', tmp_path)
    target = tmp_path / 'labels/00001_labelTrainIds.png'
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    assert convert_dataset('gta', data / 'gta', tmp_path).converted == 1
    assert target.read_bytes() == whole
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(target)  # the wrong size
    assert convert_dataset('gta', data / 'gta', tmp_path).converted == 1
    assert target.read_bytes() == whole
    assert not list(tmp_path.rglob('.*'))


def test_parallel_conversion_is_the_same(data, tmp_path):
    convert_dataset('mapillary', data / 'mapillary', tmp_path, nproc=2)
    made = digests(tmp_path)
    assert made
    assert {name: digests(data / 'mapillary')[name] for name in made} == made


def test_unknown_value_names_file_and_value(tmp_path):
    (tmp_path / 'labels').mkdir()
    Image.fromarray(np.full((4, 4), 77, np.uint8)).save(tmp_path / 'labels/00001.png')
    with pytest.raises(ValueError, match=r'00001\.png: label value 77'):
        convert_dataset('gta', tmp_path)


@pytest.mark.parametrize(
    ('name', 'folder'), [('gta', 'labels'), ('cityscapes', 'gtFine'), ('mapillary', 'v1.2')]
)
def test_missing_folder_is_named(tmp_path, name, folder):
    with pytest.raises(FileNotFoundError, match=folder):
        convert_dataset(name, tmp_path)


def test_same_bytes_for_any_number_of_processes_and_domains(data, tmp_path):
    write_toy_streets(tmp_path, 1, SIZE, SEED, domains=['snow', 'gta'], nproc=2)
    made = digests(tmp_path)
    del made['toy_streets.json']
    assert len(made) == 2 + 3
    assert {name: digests(data)[name] for name in made} == made


def test_manifest(data, tmp_path):
    assert write_toy_streets(data, 2, SIZE, SEED).images == 0
    with pytest.raises(FileExistsError, match='other arguments'):
        write_toy_streets(data, 3, SIZE, SEED)
    (tmp_path / 'gta').mkdir()
    with pytest.raises(FileExistsError, match='not from this tool'):
        write_toy_streets(tmp_path, 1, SIZE, domains=['gta'])


def test_interrupted_writing_goes_on(tmp_path):
    write_toy_streets(tmp_path, 1, SIZE, domains=['gta'])
    before = digests(tmp_path)
    manifest = tmp_path / 'toy_streets.json'
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), 'complete': False}))
    (tmp_path / 'gta/images/00001.png').unlink()
    assert write_toy_streets(tmp_path, 1, SIZE, domains=['gta']).images == 1
    after = digests(tmp_path)
    assert after['gta/images/00001.png'] == before['gta/images/00001.png']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(images=0, size=SIZE), 'at least 1 image'),
        (dict(images=1, size=SIZE, val_images=0), 'at least 1 image'),
        (dict(images=1, size=(16, 64)), 'at least 32'),
        (dict(images=1, size=SIZE, domains=['mars']), r"unknown domains \['mars'\]"),
        (dict(images=1, size=SIZE, domains=['gta'], nproc=0), 'nproc'),
        (dict(images=1, size=SIZE, seed=-1), 'seed'),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_toy_streets(tmp_path / 'out', **arguments)
