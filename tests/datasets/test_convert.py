"""From raw labels on disk through the converters to the train ids that they mean."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from dataset_files import digests, png, read_labels
from PIL import Image
from raw_data import TABLES, train_ids, write_raw_data

from soma.datasets.label_files import read_labels as read_file
from soma.datasets.labels import IDD_CLASSES, TRAIN_TO_TRAIN
from soma.datasets.prepare.convert import convert, convert_dataset
from soma.datasets.prepare.convert_files import LabelJob
from soma.datasets.prepare.counts import Counts
from soma.datasets.prepare.layouts import LAYOUTS
from soma.io.files import InputError

SIZE = (128, 64)
HALF = (64, 32)
TESTS = ('dark_zurich', 'night_driving', 'foggy_zurich')  # small sets to test on


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_raw_data(root, SIZE, images=2, val_images=2, test_images=1)
    before = digests(root)
    for name in LAYOUTS:
        summary = convert_dataset(name, root / name)
        assert not summary.failures and not summary.remarks
        already = {'bdd100k': 4, 'acdc': 8, 'diverseWeather': 12 + 6}  # boxes and lists
        already |= {'muses': 4, **dict.fromkeys(TESTS, 2)}
        assert summary.skipped == already.get(name, 0)
        totals = {'acdc': 8, 'diverseWeather': 12}
        totals |= dict.fromkeys(('cityscapes', 'bdd100k', 'mapillary', 'idd', 'muses', 'camvid'), 4)
        assert summary.counts.total == totals.get(name, 2)
    after = digests(root)
    assert {name: after[name] for name in before} == before, 'a source file was touched'
    return root


ACDC = [
    (
        f'acdc/gt/{name}/val/{name.upper()}0000/{name.upper()}0000_frame_000002_gt_labelTrainIds.png',
        name,
        'val',
        1,
    )
    for name in ('fog', 'night', 'rain', 'snow')
]


@pytest.mark.parametrize(
    ('path', 'domain', 'split', 'index'),
    [
        ('gta/labels/00002_labelTrainIds.png', 'gta', 'train', 1),
        ('synthia/GT/LABELS/0000001_labelTrainIds.png', 'synthia', 'train', 1),
        ('urbansyn/ss/rgb_0002_labelTrainIds.png', 'urbansyn', 'train', 1),
        (
            'cityscapes/gtFine/train/lindau/lindau_000001_000019_gtFine_labelTrainIds.png',
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
        ('bdd100k/labels/sem_seg/masks/val/val-00001.png', 'bdd100k', 'val', 1),
        ('mapillary/cityscapes_trainIdLabel/train/label/00000.png', 'mapillary', 'train', 0),
        ('mapillary/cityscapes_trainIdLabel/val/label/00001.png', 'mapillary', 'val', 1),
        *ACDC,
        ('idd/gtFine/val/1/000001_gtFine_labelcsTrainIds.png', 'idd', 'val', 1),
        ('idd/gtFine/train/0/000000_gtFine_labelcsTrainIds.png', 'idd', 'train', 0),
        (
            'muses/gt_semantic/val/fog/day/REC0475_frame_000001_gt_labelTrainIds.png',
            'muses',
            'val',
            1,
        ),
        (
            'dark_zurich/gt/val/night/GOPR0356/GOPR0356_frame_000000_gt_labelTrainIds.png',
            'dark_zurich',
            'val',
            0,
        ),
        (
            'foggy_zurich/gt_labelTrainIds/GP010229/1508040913.0_frame_val1.png',
            'foggy_zurich',
            'val',
            1,
        ),
    ],
)
def test_ground_truth_comes_back(data, path, domain, split, index):
    assert np.array_equal(read_labels(data / path), train_ids(domain, split, index, SIZE))


def test_raw_values_of_every_kind_occur(data):
    """Else the test above would not see a wrong table."""

    def values(pattern, channel=None):
        result = [read_file(path, channel) for path in data.glob(pattern)]
        return set(np.concatenate([np.unique(values) for values in result]).tolist())

    assert values('mapillary/*/v1.2/labels/*.png') == set(TABLES['mapillary'])
    assert values('cityscapes/gtFine/*/*/*_labelIds.png') == set(TABLES['cityscapes'])
    assert values('gta/labels/?????.png') == set(TABLES['gta'])
    assert values('synthia/GT/LABELS/???????.png', 0) == set(TABLES['synthia'])
    assert values('urbansyn/ss/ss_*.png') == set(TABLES['urbansyn'])
    assert values('bdd100k/labels/sem_seg/masks/*/*.png') == set(TABLES['train'])


def test_mapillary_validation_is_halved(data):
    whole = read_labels(data / 'mapillary/cityscapes_trainIdLabel/val/label/00000.png')
    half = read_labels(data / 'mapillary/half/val_label/00000.png')
    nearest = Image.fromarray(whole).resize(HALF, Image.Resampling.NEAREST)
    assert np.array_equal(half, np.array(nearest))
    with Image.open(data / 'mapillary/half/val_img/00000.jpg') as image:
        assert image.size == HALF
    assert not (data / 'mapillary/half/val_img/00002.jpg').exists()


def test_raw_encodings(data):
    with Image.open(data / 'gta/labels/00001.png') as image:
        assert image.mode == 'P' and image.size == SIZE
    with Image.open(data / 'mapillary/validation/v1.2/labels/00000.png') as image:
        assert image.mode == 'P' and image.size == SIZE
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
    Image.new('L', (7, 5)).save(path)  # of another size
    assert convert_dataset('cityscapes', tmp_path / 'raw').converted == 1
    Image.new('RGB', SIZE).save(path)
    assert convert_dataset('cityscapes', tmp_path / 'raw').converted == 1
    (source,) = path.parent.glob(path.name.replace('labelTrainIds.png', 'polygons.json'))
    source.write_text('{"imgWidth": 3}')
    (failure,) = convert_dataset('cityscapes', tmp_path / 'raw').failures.values()
    assert 'has no polygons of Cityscapes' in failure


@pytest.mark.parametrize('name', ['acdc', 'muses', 'dark_zurich', 'night_driving'])
def test_adverse_conditions_from_label_ids(data, tmp_path, name):
    shutil.copytree(data / name, tmp_path / 'raw')
    files = sorted((tmp_path / 'raw').rglob('*_labelTrainIds.png'))
    missing = files[1:4]
    for path in missing:
        path.unlink()
    summary = convert_dataset(name, tmp_path / 'raw')
    assert (summary.converted, summary.skipped) == (len(missing), len(files) - len(missing))
    for path in missing:
        same = data / name / path.relative_to(tmp_path / 'raw')
        assert np.array_equal(read_labels(path), read_labels(same))


def test_idd_without_polygons_and_its_second_part(data, tmp_path):
    shutil.copytree(data / 'idd', tmp_path / 'raw')
    (polygons,) = (tmp_path / 'raw/gtFine/val/1').glob('*_polygons.json')
    ids = read_file(polygons, classes=IDD_CLASSES).astype(np.uint8)
    assert set(np.unique(ids)) == set(range(40))
    expected = train_ids('idd', 'val', 1, SIZE)
    for path in (tmp_path / 'raw').rglob('*csTrainIds.png'):
        path.unlink()
    polygons.unlink()
    Image.fromarray(ids).save(polygons.with_name('000001_gtFine_labelids.png'))
    image = tmp_path / 'raw/leftImg8bit/val/1/000001_leftImg8bit.png'
    image.rename(image.with_suffix('.jpg'))
    summary = convert_dataset('idd', tmp_path / 'raw')
    assert summary.converted == 4
    label = str(polygons.with_name('000001_gtFine_labelids.png'))
    assert summary.remarks == {  # a config reads the others only
        label: 'its image is .jpg (part II), others are .png: a config reads one kind (img_suffix)'
    }
    made = polygons.with_name('000001_gtFine_labelcsTrainIds.png')
    assert np.array_equal(read_labels(made), expected)
    polygons.with_name('000001_gtFine_labelids.png').unlink()
    assert convert_dataset('idd', tmp_path / 'raw').skipped == 4  # those of the dataset's tools


def test_polygons_are_drawn_in_their_order(tmp_path):
    square = [[0, 0], [2.0, 0], [2, 2], [0, 2]]
    objects = [
        {'label': 'sky', 'polygon': [[x * 2 for x in point] for point in square]},
        {'label': 'cargroup', 'polygon': square},
        {'label': 'road', 'polygon': square, 'deleted': 1},
    ]
    content = {'imgWidth': 6, 'imgHeight': 5, 'objects': objects}
    path = tmp_path / 'a_polygons.json'
    path.write_text(json.dumps(content))
    drawn = np.full((5, 6), 35)  # unlabeled
    drawn[:5, :5], drawn[:3, :3] = 33, 12
    assert np.array_equal(read_file(path, classes=IDD_CLASSES), drawn)
    objects[1]['label'] = 'spaceship'
    objects.append({'label': 'car', 'polygon': square[:2]})  # as IDD's tools, all are left out
    path.write_text(json.dumps(content))
    drawn[:3, :3] = 33
    assert np.array_equal(read_file(path, classes=IDD_CLASSES), drawn)
    (tmp_path / 'gtFine/val/0').mkdir(parents=True)
    path.rename(tmp_path / 'gtFine/val/0/a_gtFine_polygons.json')
    (remark,) = convert_dataset('idd', tmp_path).remarks.values()
    assert remark.endswith('; not drawn, since the dataset does not define it: spaceship')


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
    convert_dataset(name, data / name, tmp_path)
    made, there = digests(tmp_path), digests(data / name)
    targets = {
        str(job.target.relative_to(tmp_path)) for job in LAYOUTS[name].jobs(data / name, tmp_path)
    }
    assert set(made) == {*targets, 'conversion.json'}
    del made['conversion.json']
    assert {file: there[file] for file in made} == made
    folder = LAYOUTS[name].images[0]
    assert sum(path.is_file() for path in (tmp_path / folder).resolve().rglob('*')) > 0


@pytest.mark.slow
def test_killed_in_the_middle_it_finishes_on_the_next_run(data, tmp_path):
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
    old, foreign, new = (f'.{name}_labelTrainIds.99.png' for name in ('00198', '00500', '00199'))
    for name in (old, foreign, new):  # a half target, no target, perhaps another run's
        (tmp_path / 'labels' / name).write_bytes(b'half')
    for name in (old, foreign):
        os.utime(tmp_path / 'labels' / name, (0, 0))
    before = len(list((tmp_path / 'labels').glob('0*_labelTrainIds.png')))
    assert 5 <= before < 200
    summary = convert_dataset('gta', tmp_path)
    assert summary.converted == 200 - before and summary.skipped == before
    files = {path.name for path in (tmp_path / 'labels').iterdir()}
    assert {foreign, new} < files and old not in files
    assert len([name for name in files if not name.startswith('.')]) == 400
    contents = {path.read_bytes() for path in (tmp_path / 'labels').glob('0*_labelTrainIds.png')}
    assert contents == {(data / 'gta/labels/00001_labelTrainIds.png').read_bytes()}


@pytest.mark.parametrize(('label_turned', 'turned'), [(True, True), (False, False)])
def test_exif_rotation(tmp_path, label_turned, turned):
    """Mapillary's halved images lie as their labels do, and say so no more."""
    root = tmp_path / 'validation'
    (root / 'images').mkdir(parents=True)
    (root / 'labels').mkdir()
    image = Image.new('RGB', (40, 20))
    image.paste((250, 0, 0), (0, 0, 10, 20))  # red on the left
    exif = image.getexif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    image.save(root / 'images/a.jpg', exif=exif, quality=95)
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


@pytest.mark.parametrize(
    ('name', 'file', 'count'),
    [
        ('bdd100k', 'labels/sem_seg/masks/val/val-00001.png', 4),
        ('foggy_zurich', 'gt_labelTrainIds/GP010229/1508040913.0_frame_val1.png', 2),
    ],
)
def test_train_ids_must_be_as_the_configs_read_them(data, tmp_path, name, file, count):
    raw = tmp_path / 'raw'
    shutil.copytree(data / name, raw)
    path = raw / file
    labels = read_labels(path)
    Image.fromarray(np.dstack([labels] * 3)).save(path)
    summary = convert_dataset(name, raw)
    assert list(summary.failures) == [str(path)] and '--out' in summary.failures[str(path)]
    assert convert_dataset(name, raw, tmp_path / 'out').converted == count
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
        ('idd', 'gtFine'),
        ('muses', 'gt_semantic'),
        ('dark_zurich', 'gt'),
        ('night_driving', 'gtCoarse_daytime_trainvaltest'),
        ('foggy_zurich', 'gt_labelTrainIds'),
        ('camvid', 'trainannot'),
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
    assert '1 failed' in printed and 'train_1_2_v1.txt: 1\n' in printed
    assert (tmp_path / 'raw/train_1_2_v1.txt').read_text() == 'rgb_0002\n'


def test_a_damaged_image_is_a_remark(data, tmp_path):
    shutil.copytree(data / 'gta', tmp_path / 'raw')
    (tmp_path / 'raw/images/00001.png').write_bytes(b'')
    summary = convert_dataset('gta', tmp_path / 'raw', tmp_path / 'out')
    assert summary.converted == 2 and not summary.failures
    (remark,) = summary.remarks.values()
    assert remark.startswith('its image') and remark.endswith('is damaged')


def test_links_follow_images_that_have_moved(data, tmp_path):
    shutil.copytree(data / 'gta', tmp_path / 'raw')
    convert_dataset('gta', tmp_path / 'raw', tmp_path / 'out')
    (tmp_path / 'raw').rename(tmp_path / 'moved')
    assert convert_dataset('gta', tmp_path / 'moved', tmp_path / 'out').skipped == 2
    assert (tmp_path / 'out/images/00001.png').exists()


def test_labels_of_urbansyn_are_named_before_their_images_are_there(data, tmp_path):
    shutil.copytree(data / 'urbansyn/ss', tmp_path / 'ss', ignore=shutil.ignore_patterns('rgb_*'))
    convert_dataset('urbansyn', tmp_path)
    assert (tmp_path / 'ss/rgb_0001_labelTrainIds.png').exists()


def test_hidden_files_are_no_labels(data, tmp_path):
    shutil.copytree(data / 'cityscapes', tmp_path / 'raw')
    hidden = tmp_path / 'raw/gtFine/val/seeheim/._seeheim_000000_000019_gtFine_labelIds.png'
    hidden.write_bytes(b'')
    assert not convert_dataset('cityscapes', tmp_path / 'raw').failures


def test_polygons_without_what_draws_them(data, tmp_path, run_here, monkeypatch):
    shutil.copytree(data / 'cityscapes', tmp_path / 'raw')
    for path in (tmp_path / 'raw').rglob('*Ids.png'):
        path.unlink()
    monkeypatch.setitem(sys.modules, 'cityscapesscripts.helpers.annotation', None)
    with pytest.raises(SystemExit, match=r'error: .*polygons only: pip install'):
        run_here('convert_datasets/cityscapes.py', tmp_path / 'raw')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--seed', '3'], '2'),
        (['--subset', 'nowhere.txt'], "error: 'nowhere.txt' is neither a file nor a fraction"),
        (['--nproc', '0'], 'error: nproc must be at least 1'),
    ],
)
def test_wrong_options_are_refused_before_the_work(data, tmp_path, run_here, options, message):
    shutil.copytree(
        data / 'gta/labels', tmp_path / 'labels', ignore=shutil.ignore_patterns('*TrainIds*')
    )
    shutil.copytree(data / 'gta/images', tmp_path / 'images')
    with pytest.raises(SystemExit, match=message):
        run_here('convert_datasets/gta.py', tmp_path, *options)
    assert not list(tmp_path.rglob('*TrainIds*'))


def test_files_that_cannot_be_read_fail_alone(data, tmp_path, monkeypatch, run_here, capsys):
    """Too large for Pillow, cut off, a folder, bytes that raise anything: the others are made."""
    root = tmp_path / 'gta'
    raw = np.zeros(SIZE[::-1], np.uint8)
    for index in range(6):
        for folder in ('images', 'labels'):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(raw).save(root / folder / f'{index}.png')
    Image.new('L', (SIZE[0] * 3, SIZE[1])).save(root / 'labels/0.png')
    whole = (root / 'labels/1.png').read_bytes()
    (root / 'labels/1.png').write_bytes(whole[:-20])
    (root / 'labels/2.png').unlink()
    (root / 'labels/2.png').mkdir()
    Image.new('L', (SIZE[0] * 3, SIZE[1])).save(root / 'images/3.png')
    Image.fromarray(raw[:1]).save(root / 'labels/4.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', raw.size + 1)
    with pytest.raises(SystemExit) as exit:
        run_here('convert_datasets/gta.py', root)
    assert exit.value.code == 1
    made = sorted(path.name for path in root.glob('labels/*TrainIds.png'))
    assert made == [f'{index}_labelTrainIds.png' for index in (3, 4, 5)]
    report = json.loads((root / 'conversion.json').read_text())
    reasons = [report['failures'][f'{root}/labels/{index}.png'] for index in range(3)]
    assert 'exceeds limit' in reasons[0] and 'truncated' in reasons[1]
    assert reasons[2] == 'is a directory'
    assert report['remarks'] == {
        f'{root}/labels/3.png': f'its image {root}/images/3.png is damaged',
        f'{root}/labels/4.png': 'is 128 x 1 pixels, its image 128 x 64',
    }
    assert '3 failed' in capsys.readouterr().out


def test_two_labels_of_one_image_are_refused(tmp_path):
    for name in ('rgb/rgb_1.png', 'ss/ss_1.png', 'ss/rgb_1.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('L', (8, 8)).save(tmp_path / name)
    message = r'ss/rgb_1\.png and .*ss/ss_1\.png would both be written to .*rgb_1_labelTrainIds'
    with pytest.raises(InputError, match=message):
        convert_dataset('urbansyn', tmp_path)
    assert not list(tmp_path.rglob('*TrainIds*'))


def test_no_source_of_another_file_is_written_over(data, tmp_path):
    first, second = (
        LabelJob(tmp_path / source, tmp_path / target, TRAIN_TO_TRAIN, tmp_path / 'x')
        for source, target in (('a.png', 'b.png'), ('b.png', 'c.png'))
    )
    with pytest.raises(InputError, match=r'b\.png is read too: --out ANOTHER_FOLDER'):
        convert([second, first], Counts(()))


def test_a_folder_that_cannot_be_written_to_is_said_at_once(data, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'^nothing can be written to .*file/out \(Not a dir'):
        convert_dataset('gta', data / 'gta', tmp_path / 'file/out')
