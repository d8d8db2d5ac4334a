"""tools/pack_data.py, and datasets that read what it made."""

import io
import json
import os
import sys

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.config import Config
from mmseg.datasets.transforms import LoadAnnotations, RandomFlip
from PIL import Image
from torch.utils.data import DataLoader

from soma.datasets import DomainCocoDataset, DomainDataset, DomainVOCDataset, PackDomainInputs
from soma.datasets.label_pixels import label_pixels
from soma.datasets.lists import write_names
from soma.datasets.packed_files import INDEX
from soma.datasets.prepare.check import check_config
from soma.datasets.prepare.pack import as_bitmap, pack
from soma.io.files import InputError
from soma.utils.config import REPOSITORY, resolve_paths
from tests.datasets.dataset_files import png

_SIZE = (40, 30)


def _write(root):
    """Six pairs: images as PNG and JPEG, one of them turned; labels of several modes; a list."""
    rng = np.random.default_rng(0)
    (root / 'images/a').mkdir(parents=True)
    (root / 'labels/a').mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(6):
        image = Image.fromarray(rng.integers(0, 256, (*_SIZE[::-1], 3), np.uint8))
        labels = Image.fromarray(rng.integers(0, 19, _SIZE[::-1], np.uint8))
        if index == 1:
            image.save(root / 'images/a/1.jpg', exif=exif)
        else:
            image.save(root / f'images/a/{index}.png')
        if index == 2:
            labels.putpalette(rng.integers(0, 256, 768).tolist())
        if index == 3:
            labels = Image.fromarray(np.asarray(labels).astype(np.uint16))
        labels.save(root / f'labels/a/{index}.png')
    write_names(root / 'some.txt', ['a/4', 'a/1', 'a/0'])
    return root


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A folder, and what became of it when it was packed."""
    root = _write(tmp_path_factory.mktemp('packed') / 'plain')
    packed = pack(root, root.parent / 'packed', shard_size=5000, nproc=2)
    assert (packed.files, packed.faster) == (13, 10)  # a JPEG, 16 bits and the list stay
    assert len([*(root.parent / 'packed').glob('*.tar')]) > 2
    return root, root.parent / 'packed'


def _dataset(root, **options):
    steps = [LoadImageFromFile(), LoadAnnotations(), RandomFlip(prob=0.5), PackDomainInputs()]
    places = dict(img_path='images', seg_map_path='labels')
    return DomainDataset('x', data_root=str(root), data_prefix=places, pipeline=steps, **options)


@pytest.mark.parametrize(
    'options', [{}, dict(ann_file='some.txt'), dict(img_suffix='.png', seg_map_suffix='.png')]
)
def test_samples_of_a_packed_folder_are_those_of_the_folder(folders, options):
    plain, packed = (_dataset(root, **options) for root in (folders[0], f'shards://{folders[1]}'))
    assert len(plain) == len(packed) == {0: 6, 1: 3, 2: 5}[len(options)]
    for index in range(len(plain)):
        np.random.seed(index)
        sample = plain[index]
        np.random.seed(index)
        other = packed[index]
        assert (sample['inputs'] == other['inputs']).all()
        a, b = sample['data_samples'], other['data_samples']
        assert (a.gt_sem_seg.data == b.gt_sem_seg.data).all()
        assert b.img_path.replace(f'shards://{folders[1]}', str(folders[0])) == a.img_path
        assert (a.ori_shape, a.domain) == (b.ori_shape, b.domain)


def test_workers_read_the_same(folders):
    dataset = _dataset(f'shards://{folders[1]}', test_mode=True)
    dataset.pipeline.transforms.pop(2)
    expected = [dataset[index]['inputs'] for index in range(6)]  # before the workers: they inherit
    loaded = DataLoader(dataset, None, num_workers=2)
    assert all((x['inputs'] == y).all() for x, y in zip(loaded, expected, strict=True))


def test_listing_is_that_of_a_folder(folders):
    for how in (dict(), dict(recursive=True), dict(list_dir=False), dict(suffix='.jpg')):
        if 'suffix' in how:
            how |= dict(list_dir=False, recursive=True)
        plain, packed = (
            sorted(fileio.list_dir_or_file(root, **how))
            for root in (str(folders[0]), f'shards://{folders[1]}')
        )
        assert plain == packed != []
    for name, is_there in (('images/a', True), ('some.txt', True), ('images/b', False)):
        assert fileio.exists(f'shards://{folders[1]}/{name}') is is_there
    assert fileio.isdir(f'shards://{folders[1]}/images')
    assert not fileio.isfile(f'shards://{folders[1]}/images')
    assert fileio.isdir(f'shards://{folders[1]}')


@pytest.mark.parametrize(
    'content',
    [
        b'no image',
        png(np.full((4, 4, 4), 9, np.uint8)),
        png(np.full((4, 4), 999, np.uint16)),
        png(Image.fromarray(np.eye(4, dtype=bool))),
        png(np.zeros((40, 40), np.uint8))[:-30],
        png(np.zeros((4, 4), np.uint8)).replace(b'IDAT', b'pHYs', 1),
    ],
    ids=['text', 'alpha', '16 bits', '1 bit', 'cut off', 'broken chunk'],
)
def test_what_a_bitmap_cannot_hold_stays(content):
    assert as_bitmap(content) is None


def test_pixels_that_are_transparent_stay():
    buffer = io.BytesIO()
    Image.new('RGB', (4, 4)).save(buffer, 'png', transparency=(0, 0, 0))
    content = buffer.getvalue()
    assert as_bitmap(content) is None


def test_missing_and_damaged_files_are_named(folders, tmp_path):
    dataset = _dataset(f'shards://{folders[1]}')
    sample = dataset.get_data_info(0) | dict(img_path=f'shards://{folders[1]}/images/9.png')
    with pytest.raises(InputError, match=r'images/9\.png is missing$'):
        dataset.run_pipeline(sample, dataset.pipeline)
    with pytest.raises(InputError, match=r'no packed folder is there: tools/pack_data\.py'):
        _dataset(f'shards://{tmp_path}/nothing')
    with pytest.raises(FileNotFoundError, match=r'no list shards://.*none\.txt.*it was not packed'):
        _dataset(f'shards://{folders[1]}', ann_file='none.txt')
    (tmp_path / 'a').mkdir()
    packed = pack(folders[0], tmp_path / 'b', only=['images/a/0.png'])
    assert packed.files == 1
    tar = tmp_path / 'b/00000.tar'
    content = bytearray(tar.read_bytes())
    content[700:720] = bytes(20)
    tar.write_bytes(content)
    with pytest.raises(InputError, match=r'00000\.tar is damaged at images/a/0\.png .*pack again'):
        fileio.get(f'shards://{tmp_path}/b/images/a/0.png')


def test_files_that_stay_as_they_are_have_a_checksum(folders, tmp_path, monkeypatch):
    pack(folders[0], tmp_path / 'a', only=['*.jpg'])
    address = f'shards://{tmp_path}/a/images/a/1.jpg'
    content = (folders[0] / 'images/a/1.jpg').read_bytes()
    read = os.pread
    with monkeypatch.context() as patch:  # as of files above 2 GB
        patch.setattr(os, 'pread', lambda file, size, offset: read(file, min(size, 100), offset))
        assert fileio.get(address) == content
    tar = tmp_path / 'a/00000.tar'
    tar.write_bytes(tar.read_bytes().replace(content[200:220], bytes(20)))
    with pytest.raises(InputError, match=r'damaged at images/a/1\.jpg \(other bytes\)'):
        fileio.get(address)
    assert not fileio.exists(f'shards://{tmp_path}/none/x.png')


def test_who_does_not_read_packed_files_says_so(folders):
    root = f'shards://{folders[1]}'
    for kind in (DomainVOCDataset, DomainCocoDataset):
        with pytest.raises(InputError, match='only a DomainDataset reads packed files'):
            kind('x', data_root=root, ann_file='a.json')
    with pytest.raises(InputError, match='only a DomainDataset reads packed files'):
        label_pixels([f'{root}/labels/a/0.png'], 2, folders[0] / 'counts.npz')
    with pytest.raises(InputError, match='name the packed folder as data_root'):
        DomainDataset('x', data_root=str(folders[0]), data_prefix=dict(img_path=f'{root}/images'))


def test_a_folder_that_is_not_whole_is_refused(folders, tmp_path):
    pack(folders[0], tmp_path / 'a', only=['*.txt'])
    tar = tmp_path / 'a/00000.tar'
    tar.write_bytes(tar.read_bytes()[:-512])
    with pytest.raises(InputError, match=r'00000\.tar is not whole \(\d+ bytes\)'):
        fileio.get_text(f'shards://{tmp_path}/a/some.txt')
    index = json.loads((tmp_path / 'a' / INDEX).read_text())
    for text in (json.dumps(index | dict(version=9)), '{', '[]'):
        (tmp_path / 'a' / INDEX).write_text(text)
        with pytest.raises(InputError, match=r'shards\.json is (of version 9|no index)'):
            fileio.get_text(f'shards://{tmp_path}/a/some.txt')


def test_wrong_requests_are_refused_before_the_work(folders, tmp_path, monkeypatch):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    with pytest.raises(InputError, match='full is not empty'):
        pack(folders[0], tmp_path / 'full')
    with pytest.raises(InputError, match=r'has no file images/\*\.bmp'):
        pack(folders[0], tmp_path / 'new', only=['images/*', 'images/*.bmp'])
    with pytest.raises(InputError, match='size of a shard must be above 0'):
        pack(folders[0], tmp_path / 'new', shard_size=0)
    with pytest.raises(InputError, match='nproc must be at least 1, got 0'):
        pack(folders[0], tmp_path / 'empty', nproc=0)
    monkeypatch.setitem(sys.modules, 'zstandard', None)
    with pytest.raises(InputError, match=r'\[shards\]'):
        pack(folders[0], tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


def test_data_are_checked_before_they_are_packed(folders, tmp_path):
    part = dict(type='DomainDataset', domain='x', data_root=f'shards://{folders[1]}')
    part['data_prefix'] = dict(img_path='images', seg_map_path='labels')
    config = Config(dict(train_dataloader=dict(dataset=part), work_dir=str(tmp_path)))
    with pytest.raises(InputError, match='is packed: check the folder that was packed'):
        check_config(config)


def test_colours_are_as_mmcv_loads_them(folders):
    load = LoadImageFromFile()
    for name in ('0.png', '1.jpg'):
        plain, packed = (
            load(dict(img_path=f'{root}/images/a/{name}'))['img']
            for root in (folders[0], f'shards://{folders[1]}')
        )
        assert np.array_equal(plain, packed)


def test_a_packed_folder_of_the_repository_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    node = dict(data_root='shards://configs', ann_file='shards://none')
    resolve_paths(node)
    assert node == dict(data_root=f'shards://{REPOSITORY}/configs', ann_file='shards://none')
