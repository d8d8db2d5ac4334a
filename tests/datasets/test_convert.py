"""From toy streets on disk through the converters back to the ground truth."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pytest
from PIL import Image

from soma.datasets.convert import convert_dataset
from soma.datasets.label_files import read_labels as read_file
from soma.datasets.labels import CITYSCAPES_TO_TRAIN
from soma.datasets.layouts import LAYOUTS
from soma.datasets.toy import DOMAIN_STYLES, render, sample_scene, write_toy_streets

SIZE = (128, 64)
SEED = 5


def read_labels(path):
    with Image.open(path) as image:
        return np.array(image)


def png(image):
    """The bytes of a PNG file of an array or a picture."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, 'png')
    return buffer.getvalue()


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
    report = write_toy_streets(root, 2, SIZE, SEED, val_images=2, test_images=1)
    # three sources have no validation split, ACDC's conditions no training split
    assert report.images == 2 * (3 + 2 * 3 + 4) + 4
    before = digests(root)
    for name in LAYOUTS:
        summary = convert_dataset(name, root / name)
        assert not summary.failures and not summary.remarks
        assert summary.skipped == {'bdd100k': 4, 'acdc': 8}.get(name, 0)  # train ids already
        totals = {'cityscapes': 4, 'bdd100k': 4, 'mapillary': 4, 'acdc': 8}
        assert summary.counts.total == totals.get(name, 2)
    after = digests(root)
    assert {name: after[name] for name in before} == before, 'a source file was touched'
    return root


ACDC = [
    (f'acdc/gt/{name}/val/TOYS0000/TOYS0000_frame_000002_gt_labelTrainIds.png', name, 'val', 1)
    for name in ('fog', 'night', 'rain', 'snow')
]


@pytest.mark.parametrize(
    ('path', 'domain', 'split', 'index'),
    [
        ('gta/labels/00002_labelTrainIds.png', 'gta', 'train', 1),
        ('synthia/GT/LABELS/0000001_labelTrainIds.png', 'synthia', 'train', 1),
        ('urbansyn/ss/rgb_0002_labelTrainIds.png', 'urbansyn', 'train', 1),
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
        *ACDC,
    ],
)
def test_ground_truth_comes_back(data, path, domain, split, index):
    assert np.array_equal(read_labels(data / path), truth(domain, split, index))


def test_raw_values_of_every_kind_occur(data):
    """Else the test above would not see a wrong table."""

    def values(pattern, channel=None):
        found = [read_file(path, channel) for path in data.glob(pattern)]
        return set(np.concatenate([np.unique(values) for values in found]).tolist())

    assert len(values('mapillary/*/v1.2/labels/*.png')) > 55
    assert len(values('cityscapes/gtFine/*/*/*_labelIds.png')) > 30
    assert len(values('synthia/GT/LABELS/???????.png', 0)) > 15
    assert values('urbansyn/ss/ss_*.png') >= {0, 2, 10}


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
    with Image.open(data / 'mapillary/validation/v1.2/labels/toy_00000.png') as image:
        assert image.mode == 'P' and image.size == (2 * SIZE[0], 2 * SIZE[1])
    with Image.open(data / 'urbansyn/ss/ss_0001.png') as image:
        assert image.mode == 'LA'
    raw = cv2.imread(str(data / 'synthia/GT/LABELS/0000000.png'), cv2.IMREAD_UNCHANGED)
    assert raw.dtype == np.uint16 and raw.shape == (*SIZE[::-1], 3) and raw[..., 2].max() < 23
    assert not list(data.glob('acdc/gt/*/test'))  # its labels stay with the server


@pytest.mark.parametrize('name', LAYOUTS)
def test_second_conversion_converts_nothing(data, name):
    before = digests(data)
    summary = convert_dataset(name, data / name)
    assert summary.converted == 0 and summary.skipped > 0
    assert digests(data) == before


def test_cityscapes_from_polygons_alone(data, tmp_path):
    shutil.copytree(data / 'cityscapes', tmp_path / 'raw')
    for path in (tmp_path / 'raw').rglob('*Ids.png'):
        path.unlink()
    assert convert_dataset('cityscapes', tmp_path / 'raw').converted == 4
    for path in (tmp_path / 'raw').rglob('*_labelTrainIds.png'):
        same = data / 'cityscapes' / path.relative_to(tmp_path / 'raw')
        assert np.array_equal(read_labels(path), read_labels(same))
    assert convert_dataset('cityscapes', tmp_path / 'raw').converted == 0


def test_acdc_from_label_ids(data, tmp_path):
    shutil.copytree(data / 'acdc', tmp_path / 'raw')
    missing = list((tmp_path / 'raw').rglob('*_labelTrainIds.png'))[:3]
    for path in missing:
        path.unlink()
    summary = convert_dataset('acdc', tmp_path / 'raw')
    assert (summary.converted, summary.skipped) == (3, 5)
    for path in missing:
        same = data / 'acdc' / path.relative_to(tmp_path / 'raw')
        assert np.array_equal(read_labels(path), read_labels(same))


def test_damaged_targets_are_made_again(data, tmp_path):
    convert_dataset('gta', data / 'gta', tmp_path)
    target = tmp_path / 'labels/00001_labelTrainIds.png'
    whole = target.read_bytes()
    damages = [
        whole[: len(whole) // 2],
        png(np.zeros((4, 4), np.uint8)),  # the wrong size
        png(np.full(SIZE[::-1], 33, np.uint8)),  # no train ids
    ]
    for damage in damages:
        target.write_bytes(damage)
        assert convert_dataset('gta', data / 'gta', tmp_path).converted == 1
        assert target.read_bytes() == whole


@pytest.mark.parametrize('name', LAYOUTS)
def test_another_folder_holds_all_that_the_configs_read(data, tmp_path, name):
    convert_dataset(name, data / name, tmp_path, nproc=2)
    made, there = digests(tmp_path), digests(data / name)
    assert any(file.endswith('_labelTrainIds.png') or 'label' in file for file in made)
    del made['conversion.json']
    assert {file: there[file] for file in made} == made
    folder = LAYOUTS[name].pictures[0]
    assert sum(path.is_file() for path in (tmp_path / folder).resolve().rglob('*')) > 0


def test_killed_in_the_middle_it_finishes_on_the_next_run(data, tmp_path):
    """The workers too: what they were writing is cleared away."""
    shutil.copytree(data / 'gta' / 'images', tmp_path / 'images')
    (tmp_path / 'labels').mkdir()
    for index in range(200):
        shutil.copy(data / 'gta/labels/00001.png', tmp_path / f'labels/{index:05d}.png')
    script = Path(__file__).parents[2] / 'tools/convert_datasets/gta.py'
    command = [sys.executable, str(script), str(tmp_path), '--nproc', '2']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    done = (tmp_path / 'labels').glob('0*_labelTrainIds.png')
    while process.poll() is None and len(list(done)) < 5:
        done = (tmp_path / 'labels').glob('0*_labelTrainIds.png')
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (tmp_path / 'labels/.00199_labelTrainIds.123.png').write_bytes(b'half')
    before = len(list((tmp_path / 'labels').glob('0*_labelTrainIds.png')))
    assert 5 <= before < 200
    summary = convert_dataset('gta', tmp_path)
    assert summary.converted == 200 - before and summary.skipped == before
    files = sorted(path.name for path in (tmp_path / 'labels').iterdir())
    assert len(files) == 400 and files[0] == '00000.png'
    contents = {path.read_bytes() for path in (tmp_path / 'labels').glob('*_labelTrainIds.png')}
    assert contents == {(data / 'gta/labels/00001_labelTrainIds.png').read_bytes()}


def labels_file(root, content):
    """A GTA with one picture and the label file given."""
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
        (png(COLOURS), 'is a colour picture'),
        (png(np.full((3, 4), 77, np.uint8)), '77: no label values of this dataset'),
        (png(np.full((3, 4), 300, np.uint16)), '300: no label values'),
        (png(VALUES)[:45], ''),
        (b'', 'cannot identify image file'),
        (b'text', 'cannot identify image file'),
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
    assert list(summary.remarks.values()) == ['is 2 x 3 pixels, its picture 4 x 3']
    assert convert_dataset('gta', tmp_path).remarks == summary.remarks
    (tmp_path / 'images/00001.png').unlink()
    (remark,) = convert_dataset('gta', tmp_path).remarks.values()
    assert remark.startswith('has no picture')


@pytest.mark.parametrize(('label_turned', 'turned'), [(True, True), (False, False)])
def test_exif_rotation(tmp_path, label_turned, turned):
    """Mapillary's halved pictures lie as their labels do, and say so no more."""
    root = tmp_path / 'validation'
    (root / 'images').mkdir(parents=True)
    (root / 'labels').mkdir()
    picture = Image.new('RGB', (40, 20))
    picture.paste((250, 0, 0), (0, 0, 10, 20))  # red on the left
    exif = picture.getexif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    picture.save(root / 'images/a.jpg', exif=exif, quality=95)
    size = (20, 40) if label_turned else (40, 20)
    Image.new('L', size, 13).save(root / 'labels/a.png')
    summary = convert_dataset('mapillary', tmp_path)
    assert summary.converted == 3
    with Image.open(tmp_path / 'half/val_img/a.jpg') as made:
        assert made.size == (size[0] // 2, size[1] // 2)
        assert made.getexif().get(0x0112, 1) == 1
        red = np.array(made)[..., 0] > 128
    assert (red[:3].all() and not red[7:].any()) if turned else red[:, :3].all()
    remarks = ' '.join(summary.remarks.values())
    assert 'EXIF orientation 6' in remarks
    assert ('not turned' in remarks) is not turned
    again = convert_dataset('mapillary', tmp_path)
    assert again.converted == 0 and again.remarks == summary.remarks


def test_bdd100k_labels_must_be_as_the_configs_read_them(data, tmp_path):
    raw = tmp_path / 'raw'
    shutil.copytree(data / 'bdd100k', raw)
    path = raw / 'labels/sem_seg/masks/val/toyval-00001.png'
    labels = read_labels(path)
    Image.fromarray(np.dstack([labels] * 3)).save(path)
    summary = convert_dataset('bdd100k', raw)
    assert list(summary.failures) == [str(path)] and '--out' in summary.failures[str(path)]
    assert convert_dataset('bdd100k', raw, tmp_path / 'out').converted == 4
    made = read_labels(tmp_path / 'out' / path.relative_to(raw))
    assert np.array_equal(made, labels)


@pytest.mark.parametrize(
    ('name', 'folder'),
    [
        ('gta', 'labels'),
        ('synthia', 'LABELS'),
        ('urbansyn', 'ss'),
        ('cityscapes', 'gtFine'),
        ('bdd100k', 'masks'),
        ('mapillary', 'labels'),
        ('acdc', 'gt'),
    ],
)
def test_missing_folder_is_named(tmp_path, name, folder):
    with pytest.raises(FileNotFoundError, match=folder):
        convert_dataset(name, tmp_path)


def test_script_prints_counts_and_says_what_failed(data, tmp_path, run_here, capsys):
    shutil.copytree(data / 'urbansyn', tmp_path / 'raw')
    (tmp_path / 'raw/ss/ss_0001.png').write_bytes(b'')
    with pytest.raises(SystemExit, match='1'):
        run_here('convert_datasets/urbansyn.py', tmp_path / 'raw', '--subset', '1/2')
    printed = capsys.readouterr().out
    assert 'vegetation' in printed and 'failed: ' in printed and 'ss_0001.png' in printed
    assert '1 failed' in printed and 'train_1_2_v1.txt: 1 pictures' in printed
    assert (tmp_path / 'raw/train_1_2_v1.txt').read_text() in ('rgb_0001\n', 'rgb_0002\n')


def test_same_bytes_for_any_number_of_processes_and_domains(data, tmp_path):
    write_toy_streets(tmp_path, 1, SIZE, SEED, domains=['snow', 'gta'], nproc=2)
    made = digests(tmp_path)
    del made['toy_streets.json']
    assert len(made) == 2 + 3
    assert {name: digests(data)[name] for name in made} == made


def test_manifest(data, tmp_path):
    assert write_toy_streets(data, 2, SIZE, SEED, test_images=1).images == 0
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
