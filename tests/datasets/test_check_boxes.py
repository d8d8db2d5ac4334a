"""tools/check_data.py on boxes: clean ones, and with faults of every kind."""

import pytest
from dataset_files import VOC_BOXES, VOC_SIZE, check, write_voc_data
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from soma.datasets.voc_files import write_voc
from soma.utils.config import load_config


@pytest.fixture
def data(tmp_path):
    """Data to spoil, and a config that trains and tests on it."""
    names = [f'{index:02d}' for index in range(14)]
    write_voc_data(tmp_path / 'data', {'clear/train': names, 'foggy/train': names[:3]})

    def part(domain, folder):
        return dict(
            type='DomainVOCDataset',
            domain=domain,
            data_root=str(tmp_path / 'data' / folder),
            ann_file='VOC2007/ImageSets/Main/train.txt',
            data_prefix=dict(sub_data_root='VOC2007'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        )

    test = dict(type='ConcatDataset', datasets=[part('DF', 'foggy')])
    config = dict(
        custom_imports=dict(imports=['soma']),
        default_scope='mmdet',
        train_dataloader=dict(dataset=part('DC', 'clear')),
        val_dataloader=dict(dataset=test),
        test_dataloader=dict(dataset=test),
    )
    Config(config).dump(tmp_path / 'config.py')
    return tmp_path / 'data'


def test_clean_boxes_pass(data, run_here, capsys):
    code, report = check(run_here, data)
    assert code == 0
    assert {name: (part['images'], part['good']) for name, part in report.items()} == {
        'train DC': (14, 14),
        'val DF': (3, 3),  # the test's, too
    }
    assert not any(part['faults'] for part in report.values())
    counts = dict.fromkeys(('bus', 'bike', 'car', 'motor', 'person', 'rider', 'truck'), 0)
    counts |= dict(car=14, person=14)
    labels = report['train DC']['labels']
    assert labels == {'total': 14, 'boxes': counts, 'images': counts}
    assert '14 (14)' in capsys.readouterr().out


def spoil(data):
    """Plant faults that break training and some that do not; returns kind by file."""
    folder = data / 'clear/VOC2007'

    def xml(index):
        return folder / f'Annotations/{index:02d}.xml'

    def image(index):
        return folder / f'JPEGImages/{index:02d}.jpg'

    def write(index, *corners, name='car', size=VOC_SIZE):
        boxes = [box._replace(name=name, corners=corners) for box in VOC_BOXES[:1]]
        write_voc(xml(index), f'{index:02d}.jpg', size, [*boxes, VOC_BOXES[1]])

    def cut(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return str(path)

    xml(0).unlink()
    planted = {str(image(0)): 'no XML', cut(xml(1)): 'unreadable'}
    xml(2).write_bytes(b'')
    image(3).unlink()
    planted |= {str(xml(2)): 'unreadable', str(image(3)): 'no image'}
    planted[cut(image(4))] = 'unreadable'
    write(5, 110, 10, 130, 30)
    planted[str(xml(5))] = 'outside'
    write(6, 11, 21, 60, 50, size=(200, 120))
    write(7, 11, 21, 60, 50, size=VOC_SIZE[::-1])
    planted |= {str(image(6)): 'sizes', str(image(7)): 'transposed'}
    write(8, 20, 10, 20, 30)
    write(9, 0, 10, 20, 30)
    write(10, 10, 10, 20, 30, name='bicycle')
    harmless = {str(xml(8)): 'empty box', str(xml(9)): 'beyond', str(xml(10)): 'unknown class'}
    write_voc(xml(11), '11.jpg', VOC_SIZE, [])
    return planted, {**harmless, str(xml(11)): 'no box'}


def test_every_planted_fault_is_found(data, run_here, capsys):
    planted, harmless = spoil(data)
    code, report = check(run_here, data)
    assert code == 1
    faults = report['train DC']['faults']
    assert {fault['file']: fault['kind'] for fault in faults if fault['breaks']} == planted
    assert {fault['file']: fault['kind'] for fault in faults if not fault['breaks']} == harmless
    assert len(faults) == len(planted) + len(harmless)
    assert report['train DC']['good'] == 14 - 8 and not report['val DF']['faults']
    # 12 and 13 are whole; a car of 6 and 7 too, of 9 in part; not those of 5, 8 and 10
    boxes = report['train DC']['labels']['boxes']
    assert (boxes['car'], boxes['person']) == (2 + 2 + 1, 2 + 2 + 1 + 3)
    printed = capsys.readouterr().out
    assert all(f'error: {file}: ' in printed for file in planted)
    assert all(f'warning: {file}: ' in printed for file in harmless)
    assert "1 object of classes that there are not: 'bicycle'" in printed
    assert '1 object whose box is outside the 100 x 60 pixels: car (110, 10, 130, 30)' in printed


def test_good_images_are_listed_and_used(data, run_here, capsys):
    spoil(data)
    code, before = check(run_here, data, '--fix-list')
    assert code == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if '--cfg-options' in line]
    options = line.split('--cfg-options ')[1].split()
    assert [option.split('=')[0] for option in options] == ['train_dataloader.dataset.ann_file']
    code, after = check(run_here, data, '--cfg-options', *options)
    assert code == 0
    assert after['train DC']['images'] == before['train DC']['good']
    config = load_config(data.parent / 'config.py', dict(o.split('=') for o in options))
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build({**config.train_dataloader.dataset, 'pipeline': []})
    assert [sample['img_id'] for sample in dataset] == ['08', '09', '10', '11', '12', '13']


def test_an_image_that_is_listed_twice_is_found(data, run_here, capsys):
    path = data / 'clear/VOC2007/ImageSets/Main/train.txt'
    path.write_text(path.read_text() + '03\n')
    code, report = check(run_here, data, '--fix-list')
    (fault,) = report['train DC']['faults']
    assert code == 1 and fault['kind'] == 'repeated' and fault['file'].endswith('03.jpg')
    names = (data.parent / 'out/train_DC.txt').read_text().splitlines()
    assert len(names) == len(set(names)) == 14


def test_classes_may_have_capitals_as_for_the_dataset(data, run_here):
    option = 'train_dataloader.dataset.metainfo.classes=[Person,Car]'
    code, report = check(run_here, data, '--cfg-options', option)
    assert code == 0 and not report['train DC']['faults']
    assert report['train DC']['labels']['boxes'] == {'Person': 14, 'Car': 14}


def test_a_missing_list_is_found(data, run_here):
    (data / 'foggy/VOC2007/ImageSets/Main/train.txt').unlink()
    code, report = check(run_here, data)
    assert code == 1
    (fault,) = report['val DF']['faults']
    assert fault['kind'] == 'empty' and 'domain DF: no list' in fault['text']


@pytest.mark.parametrize(('indices', 'count'), [('2', 2), ('-3', 3), ('[1,4,5,8]', 4)])
def test_a_part_of_the_data(data, run_here, indices, count):
    (data / 'clear/VOC2007/Annotations/03.xml').unlink()
    option = f'train_dataloader.dataset.indices={indices}'
    code, report = check(run_here, data, '--cfg-options', option)
    assert code == 0 and report['train DC']['images'] == count


def test_training_without_a_box_is_found(data, run_here, capsys):
    option = 'train_dataloader.dataset.metainfo.classes=[Tram,Bus]'
    code, report = check(run_here, data, '--cfg-options', option)
    faults = [fault for fault in report['train DC']['faults'] if fault['breaks']]
    text = 'none of the 14 images to train on has a label of Tram, Bus'
    assert code == 1 and [fault['text'] for fault in faults] == [text]


def test_classes_without_a_box_are_named(data, run_here, capsys):
    code, report = check(run_here, data)
    note = 'no label of the training data has bus, bike, motor, rider, truck'
    assert code == 0 and report['train DC']['notes'] == [note]
    assert not report['val DF']['notes']
    assert f'warning: train DC: {note}' in capsys.readouterr().out
