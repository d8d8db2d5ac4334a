"""Boxes through mmdet's datasets and pipelines, from tidy files, untidy and broken ones."""

from pathlib import Path

import pytest
import torch
from dataset_files import VOC_SIZE, write_voc_data
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader

from soma.datasets.voc_files import read_voc
from soma.io.files import InputError

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/diverse_weather_1024x1024.py'
FOLDERS = dict(
    DC='daytime_clear',
    NC='Night-Sunny',
    DR='dusk_rainy',
    NR='night_rainy',
    DF='daytime_foggy',
)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def root(tmp_path):
    lists = {f'{folder}/train': [f'{folder}-1', f'{folder}-2'] for folder in FOLDERS.values()}
    write_voc_data(tmp_path, {**lists, 'daytime_clear/test': ['test-1']})
    return tmp_path


def dataset(root, folder='daytime_clear', **kwargs):
    config = dict(
        type='DomainVOCDataset',
        domain='DC',
        data_root=str(root / folder),
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root='VOC2007'),
        pipeline=[],
        serialize_data=False,  # which collects garbage, slowly
    )
    return DATASETS.build({**config, **kwargs})


def xml(root, name='daytime_clear-1'):
    return root / f'daytime_clear/VOC2007/Annotations/{name}.xml'


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def small_config(root):
    """The dataset config on small data, at a tenth of its size."""
    config = Config.fromfile(CONFIG)
    loaders = config.train_dataloader, config.val_dataloader
    for part in (loaders[0].dataset, *loaders[1].dataset.datasets):
        part.data_root = part.data_root.replace('data/diverseWeather', str(root))
        part.serialize_data = False
        for step in part.pipeline:
            step.update({key: (96, 96) for key in ('scale', 'crop_size', 'size') if key in step})
    return config


def test_a_sample(root):
    first, second = dataset(root)
    assert first['domain'] == second['domain'] == 'DC' and first['img_id'] == 'daytime_clear-1'
    assert (first['width'], first['height']) == VOC_SIZE
    assert [i['bbox'] for i in first['instances']] == [[10, 20, 59, 49], [70, 10, 79, 49]]
    classes = dataset(root).metainfo['classes']
    assert [classes[i['bbox_label']] for i in first['instances']] == ['car', 'person']


def test_samples_of_the_train_pipeline_go_through_a_loader(root):
    config = small_config(root)
    data = DATASETS.build(config.train_dataloader.dataset)
    (batch,) = DataLoader(data, batch_size=2, collate_fn=pseudo_collate)
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
        assert image.shape == (3, 96, 96) and sample.domain == 'DC'
        boxes = sample.gt_instances.bboxes.tensor
        assert len(boxes) == len(sample.gt_instances.labels) > 0
        assert boxes.min() >= 0 and boxes.max() <= 96
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_samples_of_the_test_pipeline_have_boxes_of_the_whole_image(root):
    data = DATASETS.build(small_config(root).val_dataloader.dataset)
    samples = [sample['data_samples'] for sample in data]
    domains = [sample.domain for sample in samples]
    assert domains == ['DC', 'NC', 'NC', 'DR', 'DR', 'NR', 'NR', 'DF', 'DF']
    assert samples[0].img_path.endswith('daytime_clear/VOC2007/JPEGImages/test-1.jpg')
    for sample in samples:
        assert sample.ori_shape == VOC_SIZE[::-1] and sample.img_shape == (96, 96)
        expected = torch.tensor([[10.0, 20, 59, 49], [70, 10, 79, 49]])
        assert torch.equal(sample.gt_instances.bboxes.tensor, expected)
        assert sample.gt_instances.labels.tolist() == [2, 4]


def test_harmless_oddities_are_read(root):
    path = xml(root)
    change(path, '<name>car</name>', '<name> Car\n</name>')
    change(path, '<xmin>71</xmin>', '<xmin>0.6</xmin>')
    change(path, '</size>', '</size><object><name>bicycle</name></object>')
    first, _ = dataset(root)
    assert [i['bbox_label'] for i in first['instances']] == [2, 4]
    assert first['instances'][1]['bbox'][0] == -1
    path.write_text('<annotation/>')  # without a size, which the image has
    assert read_voc(path) == (None, [])
    assert dataset(root)[0]['instances'] == [] and dataset(root)[0]['width'] == VOC_SIZE[0]
    names = path.parents[1] / 'ImageSets/Main/train.txt'
    names.write_text('\n daytime_clear-2.jpg\n')
    assert [sample['img_id'] for sample in dataset(root)] == ['daytime_clear-2']


def test_classes_of_the_config_may_have_capitals(root):
    first, _ = dataset(root, metainfo=dict(classes=('Person', 'Car')))
    assert [i['bbox_label'] for i in first['instances']] == [1, 0]


def test_objects_that_are_difficult_are_ignored(root):
    change(xml(root), '<difficult>0</difficult>', '<difficult>1</difficult>')
    assert [i['ignore_flag'] for i in dataset(root)[0]['instances']] == [1, 1]


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('</annotation>', '', 'no XML file of Pascal VOC'),
        ('<annotation>', '<annotation>\x00', 'no XML file of Pascal VOC'),
        ('<ymin>21</ymin>', '', 'no XML file of Pascal VOC'),
        ('<name>car</name>', '', 'no XML file of Pascal VOC'),
        ('<ymin>21</ymin>', '<ymin>top</ymin>', 'top'),
        ('<ymin>21</ymin>', '<ymin>inf</ymin>', 'infinity'),
        ('<width>100</width>', '<width>wide</width>', 'wide'),
    ],
)
def test_a_broken_file_is_named(root, old, new, message):
    change(xml(root), old, new)
    with pytest.raises(ValueError, match=f'daytime_clear-1.xml.*{message}.*check_data'):
        dataset(root)
    with pytest.raises(ValueError):  # so that the checker finds it
        read_voc(xml(root))


def test_missing_files_are_named(root):
    folder = root / 'daytime_clear/VOC2007'
    xml(root, 'daytime_clear-2').unlink()
    with pytest.raises(FileNotFoundError, match=r'domain DC: .*daytime_clear-2.xml.*check_data'):
        dataset(root)
    names = folder / 'ImageSets/Main/train.txt'
    names.write_text('\n')
    with pytest.raises(FileNotFoundError, match=r'train.txt lists no image'):
        dataset(root)
    names.unlink()
    with pytest.raises(FileNotFoundError, match=r'domain DC: no list .*train.txt'):
        dataset(root)
    (folder / 'JPEGImages').rename(folder / 'Images')
    with pytest.raises(FileNotFoundError, match=r'domain DC: no folder .*JPEGImages'):
        dataset(root)


def test_a_fault_of_the_program_is_not_blamed_on_the_file(root, monkeypatch):
    def fault(*_):
        raise TypeError('a fault')

    monkeypatch.setattr('mmdet.datasets.XMLDataset._parse_instance_info', fault)
    with pytest.raises(TypeError, match=r'^a fault$'):
        dataset(root)


def test_an_image_that_must_give_its_size_is_named(root):
    xml(root).write_text('<annotation/>')
    image = root / 'daytime_clear/VOC2007/JPEGImages/daytime_clear-1.jpg'
    image.write_bytes(b'x')
    with pytest.raises(InputError, match=rf'^{image} cannot be read as an image; tools/check_data'):
        dataset(root)


def test_training_without_a_box_is_refused(root):
    message = r'^domain DC: no image of .*train\.txt has a box of the classes tram, bus; tools'
    with pytest.raises(InputError, match=message):
        dataset(root, metainfo=dict(classes=('tram', 'bus')))
    data = dataset(root, metainfo=dict(classes=('tram', 'bus')), test_mode=True)
    assert [sample['instances'] for sample in data] == [[], []]


def test_an_image_that_cannot_be_read_is_named(root):
    data = dataset(root, pipeline=[dict(type='LoadImageFromFile')])
    image = root / 'daytime_clear/VOC2007/JPEGImages/daytime_clear-2.jpg'
    image.write_bytes(b'')
    with pytest.raises(InputError, match=rf'^{image}: {image} is empty; tools/check_data'):
        data[1]
    assert data[0]['img'].shape == (*VOC_SIZE[::-1], 3)
