"""tools/check_data.py on boxes in COCO's JSON: clean ones, and with faults of every kind."""

import json

import pytest
from dataset_files import check, write_coco_data
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from soma.utils.config import load_config


@pytest.fixture
def data(tmp_path):
    """Data to spoil, and a config that trains and tests on it."""
    names = [f'{index}.jpg' for index in range(8)]
    for folder, images in (('day', names), ('night', names[:3])):
        write_coco_data(tmp_path / 'data' / folder, images)

    def part(folder):
        root = str(tmp_path / 'data' / folder)
        return dict(type='DomainCocoDataset', domain=folder, data_root=root, pipeline=[])

    config = dict(
        custom_imports=dict(imports=['soma']),
        default_scope='mmdet',
        train_dataloader=dict(dataset=part('day')),
        val_dataloader=dict(dataset=dict(part('night'), test_mode=True)),
    )
    Config(config).dump(tmp_path / 'config.py')
    return tmp_path / 'data'


def test_clean_boxes_pass(data, run_here, capsys):
    code, report = check(run_here, data, '--fix-list')
    assert code == 0
    counts = dict(ship=8, tug=8)
    assert report['train day'] == dict(
        images=8, good=8, faults=[], notes=[], labels=dict(total=8, boxes=counts, images=counts)
    )
    assert report['val night']['images'] == 3 and not report['val night']['faults']
    assert '--cfg-options' not in capsys.readouterr().out
    code, report = check(run_here, data, '--cfg-options', 'train_dataloader.dataset.classes=[tug]')
    assert report['train day']['notes'] == ['boxes of ship are left out']
    assert report['train day']['labels']['boxes'] == dict(tug=8)


def spoil(data):
    """Plant faults that break training and some that do not; returns kind by file."""
    path, images = data / 'day/annotations.json', data / 'day/images'
    content = json.loads(path.read_text())

    def box(index, *values):
        content['annotations'][2 * index]['bbox'] = values

    (images / '0.jpg').unlink()
    whole = (images / '1.jpg').read_bytes()
    (images / '1.jpg').write_bytes(whole[: len(whole) // 2])
    box(2, 110, 0, 20, 20)
    content['images'][3]['width'] = 200
    turned = Image.open(images / '4.jpg')
    turned.getexif()[0x0112] = 6
    turned.save(images / '4.jpg', exif=turned.getexif())
    box(5, 5, 5, 0, 5)
    box(6, 90, 5, 30, 3)
    content['annotations'] = content['annotations'][:-2]
    content['annotations'].append(dict(id=99, image_id=77, category_id=3, bbox=[1, 1, 9, 9]))
    content['info'] = 'kept'
    path.write_text(json.dumps(content))
    planted = [(0, 'no image'), (1, 'unreadable'), (2, 'outside'), (3, 'sizes'), (4, 'turned')]
    planted.append((4, 'outside'))  # the tug, when the image is turned
    planted = {(str(images / f'{index}.jpg'), kind) for index, kind in planted}
    harmless = [(5, 'no size'), (6, 'beyond'), (6, 'tiny'), (7, 'no box')]
    harmless = {(str(images / f'{index}.jpg'), kind) for index, kind in harmless}
    return planted | {(str(path), 'unknown image')}, harmless


def test_every_planted_fault_is_found_and_good_images_are_used(data, run_here, capsys):
    planted, harmless = spoil(data)
    code, report = check(run_here, data, '--fix-list')
    part = report['train day']
    for breaks, expected in ((True, planted), (False, harmless)):
        faults = [(f['file'], f['kind']) for f in part['faults'] if f['breaks'] == breaks]
        assert set(faults) == expected and len(faults) == len(expected)
    assert code == 1 and (part['images'], part['good']) == (8, 3)
    printed = capsys.readouterr().out
    assert 'has 1 box outside the 100 x 60 pixels: ship [110, 0, 20, 20]' in printed
    (line,) = [line for line in printed.splitlines() if '--cfg-options' in line]
    options = line.split('--cfg-options ')[1].split()
    code, after = check(run_here, data, '--cfg-options', *options)
    assert code == 0 and after['train day']['images'] == after['train day']['good'] == 3
    config = load_config(data.parent / 'config.py', dict(o.split('=') for o in options))
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(config.train_dataloader.dataset)
    content = json.loads((data.parent / 'out/train_day.json').read_text())
    assert content['info'] == 'kept' and len(content['annotations']) == 4
    assert [len(dataset.get_data_info(i)['instances']) for i in range(3)] == [1, 2, 0]


@pytest.mark.parametrize(
    ('folder', 'kinds'), [('day', ['no boxes', 'no labels']), ('night', ['no boxes'])]
)
def test_a_file_without_annotations_is_good_for_testing_alone(data, run_here, folder, kinds):
    write_coco_data(data / folder, ['0.jpg'], annotations=None)
    code, report = check(run_here, data)
    faults = [fault for part in report.values() for fault in part['faults']]
    assert [fault['kind'] for fault in faults] == kinds and code == (folder == 'day')
