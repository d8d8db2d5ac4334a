"""tools/check_data.py on clean data, and on data with faults of every kind."""

import shutil

import numpy as np
import pytest
import torch
from dataset_files import check
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from raw_data import write_raw_data

from soma.datasets.prepare.check import Part, smallest_side
from soma.datasets.prepare.check_files import Fault
from soma.datasets.prepare.check_report import fault_lines
from soma.datasets.prepare.convert import convert_dataset
from soma.utils.config import load_config

SUFFIX = '_labelTrainIds.png'


@pytest.fixture(autouse=True)
def _no_charts(request, monkeypatch):
    """They take half of a test; that of clean data looks at one."""
    if request.node.name != 'test_clean_data_passes':
        monkeypatch.setattr('soma.datasets.prepare.check_report.save_counts_chart', lambda *_: None)


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp('streets')
    write_raw_data(root, (64, 48), images=12, val_images=12, domains=['gta', 'bdd100k'])
    convert_dataset('gta', root / 'gta')
    return root


@pytest.fixture
def data(streets, tmp_path):
    """A copy to spoil, and a config that trains on one part of it and tests on the other."""
    shutil.copytree(streets, tmp_path / 'data')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    gta = dict(
        type='DomainDataset',
        domain='gta',
        data_root=str(tmp_path / 'data/gta'),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix=SUFFIX,
        pipeline=pipeline,
    )
    bdd = dict(
        type='DomainDataset',
        domain='bdd',
        data_root=str(tmp_path / 'data/bdd100k'),
        data_prefix=dict(img_path='images/10k/val', seg_map_path='labels/sem_seg/masks/val'),
        img_suffix='.jpg',
        seg_map_suffix='.png',
        pipeline=pipeline,
    )
    loader = dict(dataset=dict(type='ConcatDataset', datasets=[bdd]))
    config = dict(
        custom_imports=dict(imports=['soma']),
        train_dataloader=dict(dataset=gta),
        val_dataloader=loader,
        test_dataloader=loader,
    )
    Config(config).dump(tmp_path / 'config.py')
    return tmp_path / 'data'


def test_clean_data_passes(data, run_here, capsys):
    code, report = check(run_here, data, '--nproc', '2', chart=True)
    assert code == 0
    assert {name: (part['images'], part['good']) for name, part in report.items()} == {
        'train gta': (12, 12),
        'val bdd': (12, 12),  # the test's, too
    }
    assert not any(part['faults'] for part in report.values())
    labels = [Image.open(path) for path in sorted((data / 'gta/labels').glob(f'*{SUFFIX}'))]
    pixels = np.bincount(np.concatenate([np.ravel(label) for label in labels]), minlength=256)
    assert list(report['train gta']['labels']['pixels'].values())[:19] == pixels[:19].tolist()
    assert Image.open(data.parent / 'out/classes.png').width > 500
    assert 'vegetation' in capsys.readouterr().out


def spoil(data):
    """Plant ten faults that break training and three that do not; returns kind by file."""
    images, labels = data / 'gta/images', data / 'gta/labels'

    def label(index):
        return labels / f'{index:05d}{SUFFIX}'

    def image(index):
        return images / f'{index:05d}.png'

    def change(path, function):
        with Image.open(path) as image:
            changed = function(np.array(image))
        Image.fromarray(changed).save(path)
        return str(path)

    def cut(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return str(path)

    def exif(path, orientation):
        with Image.open(path) as image:
            tag = image.getexif()
            tag[0x0112] = orientation
            image.save(path, exif=tag)
        return str(path)

    def wrong_value(array):
        array[3, 4] = 33
        return array

    def empty(path):
        path.write_bytes(b'')
        return str(path)

    label(1).unlink()
    planted = {str(image(1)): 'no label'}
    change(label(2), lambda array: array[:-3])
    planted[str(image(2))] = 'sizes'
    change(label(3), np.transpose)
    planted[str(image(3))] = 'transposed'
    jpegs = sorted((data / 'bdd100k/images/10k/val').glob('*.jpg'))
    exif(jpegs[0], 6)  # its mask lies as it is shown or as it is stored: the sizes tell
    turned = exif(jpegs[2], 3)
    planted[change(label(4), wrong_value)] = 'values'
    planted[change(label(5), lambda array: array.astype(np.uint16) + 300)] = 'values'
    planted[cut(image(6))] = 'unreadable'
    planted[cut(label(7))] = 'unreadable'
    planted[cut(jpegs[1])] = 'unreadable'
    planted[empty(label(8))] = 'unreadable'
    planted[change(label(9), lambda array: np.dstack([array, array, 255 - array]))] = 'channels'
    harmless = {change(label(10), lambda array: np.full_like(array, 255)): 'unlabelled'}
    harmless[turned] = 'turned'
    image(11).unlink()
    harmless[str(label(11))] = 'no image'
    return planted, harmless


def test_every_planted_fault_is_found(data, run_here, capsys):
    planted, harmless = spoil(data)
    assert len(planted) >= 10
    code, report = check(run_here, data)
    assert code == 1
    faults = [fault for part in report.values() for fault in part['faults']]
    assert {fault['file']: fault['kind'] for fault in faults if fault['breaks']} == planted
    assert {fault['file']: fault['kind'] for fault in faults if not fault['breaks']} == harmless
    assert len(faults) == len(planted) + len(harmless)
    assert report['train gta']['good'] == 11 - 8 - 1 and report['val bdd']['good'] == 11
    printed = capsys.readouterr().out
    assert all(f'error: {file}: ' in printed for file in planted)


def test_only_harmless_faults_pass(data, run_here):
    (data / 'gta/images/00011.png').unlink()
    code, report = check(run_here, data)
    assert code == 0 and len(report['train gta']['faults']) == 1


def test_an_empty_domain_is_found(data, run_here):
    for path in (data / 'bdd100k/images/10k/val').iterdir():
        path.unlink()
    code, report = check(run_here, data)
    assert code == 1
    (fault,) = report['val bdd']['faults']
    assert (fault['kind'], fault['file']) == ('empty', 'val_dataloader.dataset.datasets.0')
    assert 'domain bdd' in fault['text']


def test_moved_data_and_heads_for_other_classes_are_found(data, run_here):
    (data / 'list.txt').write_text('00001\n00002\n')
    train_on(data, data_root='/nowhere', ann_file=str(data / 'list.txt'))
    head = ['model.decode_head.type=FCNHead', 'model.decode_head.num_classes=20']
    code, report = check(run_here, data, '--cfg-options', *head)
    (moved,), (other,) = (part['faults'] for part in report.values())
    assert code == 1 and moved['text'].startswith(
        'no folder /nowhere (data_root of the domain gta)'
    )
    assert other['text'] == (
        'model.decode_head.num_classes is 20, but the data of val_dataloader has 19 classes: road, '
        'sidewalk, building, ...; write num_classes = 19 at the top of the config'
    )


def test_what_is_harmless_is_told_once():
    faults = [Fault('turned', f'{i}.jpg', 'is turned', False) for i in range(12)]
    faults += [Fault('sizes', f'{i}.jpg', 'differs') for i in range(4)]
    assert fault_lines([Part('train a', [], faults=faults)]) == [
        *(f'error: {i}.jpg: differs' for i in range(3)),
        'error: train a: sizes: 1 more, see report.json',
        'warning: 0.jpg: is turned (12 such in train a, see report.json)',
    ]


def test_good_pairs_are_listed_and_used(data, run_here, capsys):
    spoil(data)
    code, before = check(run_here, data, '--fix-list')
    assert code == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if '--cfg-options' in line]
    options = line.split('--cfg-options ')[1].split()
    assert [option.split('=')[0] for option in options] == [
        'train_dataloader.dataset.ann_file',
        'val_dataloader.dataset.datasets.0.ann_file',
        'test_dataloader.dataset.datasets.0.ann_file',
    ]
    code, after = check(run_here, data, '--cfg-options', *options)
    assert code == 0
    assert [part['images'] for part in after.values()] == [part['good'] for part in before.values()]
    config = load_config(data.parent / 'config.py', dict(o.split('=') for o in options))
    assert config.train_dataloader.dataset.ann_file.endswith('train_gta.txt')


def test_a_domain_without_a_good_pair_gets_no_list(data, run_here, capsys):
    for path in (data / 'bdd100k/labels/sem_seg/masks/val').iterdir():
        path.unlink()
    code, report = check(run_here, data, '--fix-list')
    assert code == 1 and report['val bdd']['good'] == 0
    printed = capsys.readouterr().out
    assert 'val bdd: nothing is good' in printed and '--cfg-options' not in printed
    assert 'val bdd: no label: 9 more, see report.json' in printed
    assert not list((data.parent / 'out').glob('*.txt'))


def test_two_datasets_of_one_domain_are_told_apart(data, run_here):
    shutil.copytree(data / 'gta', data / 'gta2')
    (data / 'gta/images/00003.png').write_bytes(b'')
    (data / 'gta2/images/00004.png').write_bytes(b'')
    config = Config.fromfile(data.parent / 'config.py')
    first = config.train_dataloader.dataset
    second = dict(first, data_root=str(data / 'gta2'))
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[first, second])
    config.dump(data.parent / 'config.py')
    code, report = check(run_here, data, '--fix-list')
    assert code == 1 and [*report] == ['train gta', 'train gta 2', 'val bdd']
    lists = [(data.parent / f'out/train_gta{end}.txt').read_text() for end in ('', '_2')]
    assert '00003' not in lists[0] and '00004' in lists[0]
    assert '00003' in lists[1] and '00004' not in lists[1]


def test_a_part_of_the_data_has_no_orphans(data, run_here):
    code, report = check(run_here, data, '--cfg-options', 'train_dataloader.dataset.indices=2')
    assert code == 0 and report['train gta']['images'] == 2
    assert not report['train gta']['faults']


def test_data_without_label_maps_is_refused(data, run_here):
    config = Config.fromfile(data.parent / 'config.py')
    config.train_dataloader.dataset = dict(type='mmdet.CocoDataset', lazy_init=True)
    config.dump(data.parent / 'config.py')
    with pytest.raises(SystemExit, match=r'a mmdet\.CocoDataset has no label maps'):
        run_here('check_data.py', data.parent / 'config.py')


def test_a_config_without_data_is_refused(tmp_path, run_here):
    (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(SystemExit, match='error: the config has no train, val or test data'):
        run_here('check_data.py', tmp_path / 'empty.py')


def train_on(data, **options):
    """Let the config train on the data with other options."""
    config = Config.fromfile(data.parent / 'config.py')
    config.train_dataloader.dataset.update(options)
    config.dump(data.parent / 'config.py')


def labels_on_disk(data):
    """How many pixels have which value in all labels of GTA."""
    arrays = []
    for path in (data / 'gta/labels').glob(f'*{SUFFIX}'):
        with Image.open(path) as image:
            arrays.append(np.ravel(image))
    return np.bincount(np.concatenate(arrays), minlength=256)


def test_classes_that_are_chosen(data, run_here, capsys):
    train_on(data, metainfo=dict(classes=['sky', 'road']))
    code, report = check(run_here, data)
    assert code == 0 and not report['train gta']['faults']
    pixels = labels_on_disk(data)
    counts = {'sky': pixels[10], 'road': pixels[0]}
    counts['ignored'] = pixels.sum() - sum(counts.values())
    assert report['train gta']['labels']['pixels'] == counts
    assert len(report['val bdd']['labels']['pixels']) == 20


def test_more_classes_than_cityscapes_has(data, run_here, capsys):
    names = [f'thing {index}' for index in range(25)]
    for path in (data / 'gta/labels').glob(f'*{SUFFIX}'):
        with Image.open(path) as image:
            labels = np.array(image)
        labels[labels == 3], labels[labels == 255] = 24, 0
        Image.fromarray(labels).save(path)
    train_on(data, metainfo=dict(classes=names))
    code, report = check(run_here, data)
    assert code == 0
    pixels = labels_on_disk(data)
    assert report['train gta']['labels']['pixels'] == {
        **dict(zip(names, pixels[:25].tolist(), strict=True)),
        'ignored': 0,
    }
    absent = ', '.join(name for name, amount in zip(names, pixels, strict=False) if not amount)
    assert absent.startswith('thing 3, thing 19')
    assert report['train gta']['notes'] == [f'no label of the training data has {absent}']
    printed = capsys.readouterr().out
    assert f'warning: train gta: no label of the training data has {absent}' in printed
    (row,) = [line for line in printed.splitlines() if 'thing 24' in line and '│' in line]
    assert f'{100 * pixels[24] / pixels.sum():.2f} (100)' in row


def test_label_zero_that_does_not_count(data, run_here):
    names = [f'thing {index}' for index in range(18)]
    train_on(data, metainfo=dict(classes=names), reduce_zero_label=True)
    code, report = check(run_here, data)
    assert code == 0
    counts, pixels = report['train gta']['labels']['pixels'], labels_on_disk(data)
    assert [counts[name] for name in names] == pixels[1:19].tolist()
    assert counts['ignored'] == pixels[0] + pixels[255]


def test_values_are_compared_with_the_classes_of_the_dataset(data, run_here):
    train_on(data, metainfo=dict(classes=['a', 'b', 'c']))
    code, report = check(run_here, data)
    assert code == 1 and report['train gta']['good'] == 0
    text = report['train gta']['faults'][0]['text']
    assert ': neither one of the 3 classes nor 255 (' in text


def test_samples_of_other_datasets_have_no_domain(data, run_here):
    config = Config.fromfile(data.parent / 'config.py')
    plain = {k: v for k, v in config.train_dataloader.dataset.items() if k != 'domain'}
    plain.update(type='CityscapesDataset')
    config.train_dataloader.dataset = plain
    config.test_dataloader.dataset = dict(plain, test_mode=True)
    config.test_evaluator = dict(type='DomainIoUMetric')
    config.dump(data.parent / 'config.py')
    code, report = check(run_here, data)
    (harmless,) = report['train CityscapesDataset']['faults']
    (fault,) = report['test CityscapesDataset']['faults']
    assert fault['kind'] == 'no domain' and 'use DomainDataset' in fault['text']
    assert fault['breaks'] and not harmless['breaks'] and code == 1


def test_a_dataset_that_is_tested_twice_is_found(data, run_here):
    config = Config.fromfile(data.parent / 'config.py')
    config.test_dataloader.dataset.datasets *= 2
    config.dump(data.parent / 'config.py')
    code, report = check(run_here, data)
    (fault,) = report['val bdd']['faults']
    assert code == 1 and fault['kind'] == 'repeated'
    assert fault['file'] == 'test_dataloader.dataset.datasets.1'


def test_images_too_flat_for_the_network_are_found(data, run_here):
    config = Config.fromfile(data.parent / 'config.py')
    config.model = dict(backbone=dict(type='DINOv2'))
    config.dump(data.parent / 'config.py')
    for folder, end in (('images', '.png'), ('labels', SUFFIX)):
        for index, rows in ((1, 1), (2, 16), (3, 17)):
            path = data / f'gta/{folder}/{index:05d}{end}'
            with Image.open(path) as image:
                image.crop((0, 0, 64, rows)).save(path)
    code, report = check(run_here, data)
    faults = report['train gta']['faults']
    assert code == 1 and {fault['kind'] for fault in faults} == {'too small'}
    assert [fault['text'] for fault in faults] == [
        f'64 x {rows} pixels, the network needs 17 each way' for rows in (1, 16)
    ]


@pytest.mark.parametrize(
    ('pyramid', 'expected'),
    [(None, 9), ((1, 1, 1, 1), 1), ((4, 2, 1, 0.3), 25), ((4, 2, 1, 0.1), 73)],
)
def test_the_smallest_image_is_the_smallest_that_the_network_takes(pyramid, expected):
    options = dict(arch=dict(embed_dim=8, depth=4, num_heads=2), img_size=32, patch_size=8)
    options |= dict(type='DINOv2', out_indices=[0, 1, 2, 3])
    options |= dict(pyramid=pyramid) if pyramid else {}
    assert smallest_side(options) == expected
    model = MODELS.build(options)
    assert min(map(min, (m.shape[2:] for m in model(torch.zeros(1, 3, expected, 96))))) > 0
    if expected > 1:
        with pytest.raises(RuntimeError, match='greater than 0'):
            model(torch.zeros(1, 3, expected - 1, 96))


def test_the_smallest_image_of_other_backbones():
    assert smallest_side({}) == smallest_side(dict(type='mmseg.ResNet', depth=18)) == 2
    assert smallest_side(dict(type='mmseg.VisionTransformer')) == 1


def test_files_too_large_to_read_and_folders_are_found(data, run_here, monkeypatch):
    Image.new('RGB', (200, 100)).save(data / 'gta/images/00003.png')
    (data / 'gta/labels' / f'00004{SUFFIX}').unlink()
    (data / 'gta/labels' / f'00004{SUFFIX}').mkdir()
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 64 * 48 + 1)
    code, report = check(run_here, data)
    faults = {fault['file'][-24:]: fault['text'] for fault in report['train gta']['faults']}
    assert code == 1 and len(faults) == 2
    assert 'exceeds limit' in faults[f'{data}/gta/images/00003.png'[-24:]]
    assert faults[f'{data}/gta/labels/00004{SUFFIX}'[-24:]] == 'is a directory'


def test_a_dataset_that_cannot_be_built_does_not_hide_the_others(data, run_here):
    train_on(data, metainfo=dict(classes='car'))
    (data / 'bdd100k/images/10k/val/val-00003.jpg').write_bytes(b'')
    code, report = check(run_here, data)
    (fault,) = report['train gta']['faults']
    assert code == 1 and fault['kind'] == 'unusable' and "classes='car' is neither" in fault['text']
    assert report['train gta']['labels']['pixels'] == {}
    assert len(report['val bdd']['faults']) == 1


def test_a_list_that_was_read_is_not_written_over(data, run_here):
    spoil(data)
    check(run_here, data, '--fix-list')
    path = data.parent / 'out/train_gta.txt'
    before = path.read_text()
    first = data / 'gta/images' / f'{before.split()[0]}.png'
    first.write_bytes(b'')
    option = f'train_dataloader.dataset.ann_file={path}'
    check(run_here, data, '--fix-list', '--cfg-options', option)
    assert path.read_text() == before
    again = path.with_name('train_gta_good.txt').read_text()
    assert again.splitlines() == before.splitlines()[1:]
