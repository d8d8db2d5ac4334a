"""DomainCocoDataset: what it reads of COCO's JSON, and what it says of faults in it."""

import copy
import json

import pytest
from dataset_files import COCO_SIZE, write_coco_data
from mmdet.datasets import CocoDataset
from mmengine.registry import DATASETS
from PIL import Image

import soma  # noqa: F401, registers
from soma.io.files import InputError


@pytest.fixture
def root(tmp_path):
    write_coco_data(tmp_path / 'harbour')
    return tmp_path / 'harbour'


def dataset(root, **options):
    data = dict(type='DomainCocoDataset', domain='day', data_root=str(root), serialize_data=False)
    return DATASETS.build({**data, **options})


def change(root, function):
    """Change what is in the file by a function of it."""
    path = root / 'annotations.json'
    content = json.loads(path.read_text())
    function(content)
    path.write_text(json.dumps(content))


def test_boxes_and_classes_are_those_of_the_file(root):
    data = dataset(root)
    assert data.metainfo['classes'] == ('ship', 'tug') and len(data.metainfo['palette']) == 2
    first, second = data.get_data_info(0), data.get_data_info(1)
    assert first['domain'] == 'day' and first['category_ids'] == [3, 7] and first['img_id'] == 5
    assert (first['width'], first['height']) == COCO_SIZE
    assert second['img_path'] == f'{root}/images/night/b.JPG'
    expected = [([10, 20, 60, 50], 0, 0), ([70, 10, 80, 50.5], 1, 0)]
    boxes = [(i['bbox'], i['bbox_label'], i['ignore_flag']) for i in first['instances']]
    assert boxes == expected


def test_mmdet_reads_the_same(root):
    def add_areas(content):
        for entry in content['annotations']:
            entry.update(area=1, iscrowd=1 - entry['id'] % 2)

    change(root, add_areas)
    file = dict(ann_file='annotations.json', data_root=str(root), data_prefix=dict(img='images/'))
    theirs = CocoDataset(**file, metainfo=dict(classes=('ship', 'tug')), serialize_data=False)
    # mmdet's labels follow the order of the file, where the tug is first
    ours = dataset(root)
    for index in range(2):
        pairs = zip(ours[index]['instances'], theirs[index]['instances'], strict=True)
        for a, b in pairs:
            assert a == {**b, 'bbox_label': 1 - b['bbox_label']}
    assert [i['ignore_flag'] for i in ours[0]['instances']] == [0, 1]


@pytest.mark.parametrize('how', ['classes', 'metainfo'])
def test_classes_can_be_chosen_in_any_order(root, how):
    chosen = dict(classes=['tug', 'ship'], palette=[(1, 2, 3), (4, 5, 6)])
    data = dataset(root, **(chosen if how == 'classes' else dict(metainfo=chosen)))
    assert data.metainfo['classes'] == ('tug', 'ship') and data.metainfo['palette'][0] == (1, 2, 3)
    assert [i['bbox_label'] for i in data[0]['instances']] == [1, 0]
    assert data.category_ids == [7, 3]
    data = dataset(root, classes=['tug'])
    assert [i['bbox'] for i in data[0]['instances']] == [[70, 10, 80, 50.5]]
    with pytest.raises(InputError, match=r'^domain day: metainfo names classes too'):
        dataset(root, classes=['tug'], metainfo=dict(classes=['ship']))


def test_given_classes_need_no_file_before_the_boxes_are_read(tmp_path):
    data = dataset(tmp_path, classes=['ship'], lazy_init=True)
    assert data.metainfo['classes'] == ('ship',)
    with pytest.raises(FileNotFoundError, match=r'^domain day: no file .*annotations.json; docs/'):
        data.full_init()


def test_what_cannot_be_used_is_left_out_and_said(root, monkeypatch):
    def spoil(content):
        boxes = [[-20, 0, 20, 10], [5, 5, 0.5, 9], [95, 5, 20, 9]]
        for index, box in enumerate(boxes, 10):
            entry = dict(id=index, image_id=5, category_id=3, bbox=box, segmentation=[[1] * 6])
            content['annotations'].append(entry)
        del content['images'][0]['width']

    change(root, spoil)
    logged = []
    monkeypatch.setattr(
        'soma.datasets.domain_coco.print_log', lambda text, **_: logged.append(text)
    )
    first = dataset(root)[0]
    assert (first['width'], first['height']) == COCO_SIZE  # the image's own
    assert [i['bbox'] for i in first['instances']][2:] == [[95, 5, 115, 14]]
    assert not any('mask' in i for i in first['instances'])
    assert logged == [
        f'domain day: {root}/annotations.json: 1 of 2 images have boxes that are left out, such as '
        f'a.jpg: 1 box {text}; tools/check_data.py CONFIG lists all that is wrong with the data'
        for text in (
            'thinner than a pixel: ship [5, 5, 0.5, 9]',
            'outside the 100 x 60 pixels: ship [-20, 0, 20, 10]',
        )
    ]


def test_images_without_boxes_stay_unless_they_are_filtered(root):
    change(root, lambda content: content.update(annotations=content['annotations'][:2]))
    assert [len(sample['instances']) for sample in dataset(root)] == [2, 0]
    assert len(dataset(root, filter_cfg=dict(filter_empty_gt=True))) == 1


def test_images_without_annotations_can_be_predicted(tmp_path):
    write_coco_data(tmp_path, annotations=None)
    with pytest.raises(InputError, match=r'annotations.json has no annotations, which training'):
        dataset(tmp_path)
    assert [sample['instances'] for sample in dataset(tmp_path, test_mode=True)] == [[], []]


FIRST = ('annotations', 0)
FAULTS = [
    (('images', 1, 'id'), 5, r'image night/b.JPG has the id 5, which another one has too'),
    (('images', 1, 'file_name'), 'a.jpg', r'image a.jpg is there twice'),
    (('images', 1, 'file_name'), '../b.jpg', r'image ../b.jpg leads out of the folder'),
    (('images', 1, 'file_name'), None, r'the image 6 has the file_name None'),
    (('images', 1, 'id'), [6], r'image night/b.JPG has the id \[6\]'),
    ((*FIRST, 'id'), 2, r'image a.jpg: annotation 2 has an id that another one has too'),
    ((*FIRST, 'image_id'), '5', r"annotation 1 is of the image '5': none has it"),
    ((*FIRST, 'category_id'), 1, r'image a.jpg: annotation 1 has the category_id 1: no category'),
    ((*FIRST, 'bbox'), [1, 2, 3], r'image a.jpg: annotation 1 has the bbox \[1, 2, 3\]'),
    ((*FIRST, 'bbox'), [1, 2, 3, float('nan')], r'annotation 1 has the bbox \[1, 2, 3, nan\]'),
    (('categories', 0, 'name'), 'Ship', r"2 categories with the name 'ship'"),
    (('categories', 0, 'id'), 3, r'2 categories with the id 3'),
    (('categories', 0, 'name'), '', r"a category needs an id and a name, got \(7, ''\)"),
    (('categories',), [], r'has no category'),
    (('categories',), None, r'is no JSON of COCO: it has no list of categories'),
    (('annotations',), [[]], r'is no JSON of COCO: it has no list of annotations'),
]


def test_faults_of_the_file_are_named(root):
    path = root / 'annotations.json'
    content = json.loads(path.read_text())
    for (*place, key), value, message in FAULTS:
        spoiled = copy.deepcopy(content)
        node = spoiled
        for step in place:
            node = node[step]
        node[key] = value
        path.write_text(json.dumps(spoiled))
        with pytest.raises(InputError, match=rf'{path}.*{message}') as error:
            dataset(root)
        assert '\n' not in str(error.value)
    write_coco_data(root, names=())
    with pytest.raises(InputError, match=r'^domain day: .*annotations.json lists no image'):
        dataset(root)
    path.write_bytes(b'{"images": [')
    with pytest.raises(InputError, match=rf'^{path} is no JSON file: '):
        dataset(root)


def test_what_does_not_fit_the_file_is_named(root):
    with pytest.raises(InputError, match=r"no category 'Tugs': do you mean tug\?"):
        dataset(root, classes=['ship', 'Tugs'])
    with pytest.raises(InputError, match=r"no category 'train': it has ship, tug"):
        dataset(root, classes=['train'])
    with pytest.raises(InputError, match=r'palette must be a list of 2 colours'):
        dataset(root, palette=[(1, 2, 3)])
    with pytest.raises(InputError, match=r'takes a folder for each of img$'):
        dataset(root, data_prefix=dict(img_path='images'))
    with pytest.raises(InputError, match=r'has no box of the classes tug; tools/check_data'):
        change(root, lambda content: content.update(annotations=content['annotations'][::2]))
        dataset(root, classes=['tug'])


def test_missing_images_are_named(root):
    (root / 'images/night/b.JPG').rename(root / 'images/night/b.jpg')
    message = r'names 1 images that are not in .*images/, such as night/b.JPG; tools/check_data'
    with pytest.raises(FileNotFoundError, match=message):
        dataset(root)
    with pytest.raises(FileNotFoundError, match=rf"data_prefix=dict\(img=''\) reads {root}/a.jpg"):
        Image.new('RGB', (9, 9)).save(root / 'a.jpg')
        dataset(root, data_prefix=dict(img='pictures'))
