"""Images of a test that would be counted, or written, over each other."""

import shutil

import pytest
from dataset_files import write_coco_data
from mmengine.registry import DATASETS, DefaultScope

from soma.datasets.places import check_samples
from soma.io.files import InputError


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def root(street_data, tmp_path):
    for town in ('a', 'b'):
        shutil.copytree(street_data, tmp_path / town)
    return tmp_path


def dataset(*parts):
    """A dataset of pairs of a domain and a folder."""
    config = dict(
        type='DomainDataset',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix='_labelTrainIds.png',
        serialize_data=False,
    )
    parts = [dict(config, domain=domain, data_root=str(root)) for domain, root in parts]
    return DATASETS.build(dict(type='ConcatDataset', datasets=parts))


def test_good_data_passes(root):
    data = dataset(('fog', root / 'a'), ('snow', root / 'a'))
    assert check_samples(data, root / 'out', root / 'shown') is True
    check_samples(dataset(('fog', root / 'a'), ('fog', root / 'b')))  # with nothing written
    assert check_samples([1, 2, 3], root / 'out') is False


def test_a_dataset_that_is_there_twice(root):
    (root / 'link').symlink_to(root / 'a')
    for again in (root / 'a', root / 'link', root / 'b/../a'):
        with pytest.raises(InputError, match=r"00000\.png is twice in the domain 'fog': it would"):
            check_samples(dataset(('fog', root / 'a'), ('fog', again)))


def test_two_datasets_under_one_domain(root):
    data = dataset(('fog', root / 'a'), ('fog', root / 'b'))
    message = r'a/images/00000\.png and .*b/images/00000\.png .* fog/00000 to .*out: give'
    with pytest.raises(InputError, match=message):
        check_samples(data, root / 'out')


def test_images_of_one_name_in_two_folders(root):
    for folder in ('images', 'labels'):
        (root / 'a' / folder / 'town').mkdir()
        for path in (root / 'a' / folder).glob('00001*'):
            shutil.copy(path, root / 'a' / folder / 'town')
    message = r'images/00001\.png and .*images/town/00001\.png would both be written'
    with pytest.raises(InputError, match=message):
        check_samples(dataset(('fog', root / 'a')), root / 'out')


def test_inputs_that_would_be_written_over(root):
    data = dataset(('images', root / 'a'))
    with pytest.raises(InputError, match=r'a/images/00000\.png would be written over'):
        check_samples(data, root / 'a')
    check_samples(dataset(('fog', root / 'a')), root / 'a')


def test_images_of_a_coco_file_are_written_by_their_ids(tmp_path):
    write_coco_data(tmp_path, ['a/x.jpg', 'b/x.jpg'])
    data = DATASETS.build(dict(type='DomainCocoDataset', domain='day', data_root=str(tmp_path)))
    assert check_samples(data, tmp_path / 'out', by_id=True) is True
    with pytest.raises(InputError, match=r'a/x.jpg and .*b/x.jpg would both be written as day/x'):
        check_samples(data, tmp_path / 'shown')
