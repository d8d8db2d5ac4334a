import itertools

import pytest
from mmengine.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from PIL import Image
from torch.utils.data import ConcatDataset

from soma.datasets.lists import read_names, write_subset

TRAIN = ('leftImg8bit/train', '_leftImg8bit.png')


@pytest.fixture
def root(tmp_path):
    for index in range(20):
        town = 'aachen' if index < 12 else 'bonn'
        path = tmp_path / f'leftImg8bit/train/{town}/{town}_{index:02d}_leftImg8bit.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path)
    return tmp_path


def test_a_fraction_is_drawn_by_seed(root):
    path = write_subset('1/4', root, root, *TRAIN)
    assert path == root / 'train_1_4_v1.txt'
    names = path.read_text().splitlines()
    assert len(set(names)) == 5 and names == sorted(names)
    assert all((root / TRAIN[0] / (name + TRAIN[1])).exists() for name in names)
    before = path.read_bytes()
    assert write_subset('1/4', root, root, *TRAIN).read_bytes() == before
    other = write_subset('1/4', root, root, *TRAIN, seed=2)
    assert other.name == 'train_1_4_v2.txt' and other.read_bytes() != before
    assert len(write_subset('1/16', root, root, *TRAIN).read_text().splitlines()) == 1


@pytest.mark.parametrize(
    'line',
    [
        'bonn/bonn_15',
        'bonn/bonn_15_leftImg8bit.png',
        'leftImg8bit/train/bonn/bonn_15_leftImg8bit.png',
        '/somewhere/cityscapes/leftImg8bit/train/bonn/bonn_15_leftImg8bit.png',
        '  bonn/bonn_15  ',
    ],
)
def test_lists_of_users_are_understood(root, tmp_path, line):
    (tmp_path / 'mine.txt').write_text(f'{line}\n\naachen/aachen_03\n')
    assert read_names(tmp_path / 'mine.txt', *TRAIN) == ['bonn/bonn_15', 'aachen/aachen_03']
    out = tmp_path / 'out'
    written = write_subset(str(tmp_path / 'mine.txt'), root, out, *TRAIN)
    assert written.read_text() == 'bonn/bonn_15\naachen/aachen_03\n'
    dataset = build(root, ann_file='mine.txt')
    assert [dataset[i]['img_path'] for i in range(2)] == [
        f'{root}/leftImg8bit/train/bonn/bonn_15_leftImg8bit.png',
        f'{root}/leftImg8bit/train/aachen/aachen_03_leftImg8bit.png',
    ]
    assert dataset[0]['seg_map_path'] == f'{root}/gtFine/train/bonn/bonn_15_ids.png'
    assert dataset[0]['domain'] == 'citys'


def test_what_is_wrong_with_a_subset_is_said(root, tmp_path):
    (tmp_path / 'mine.txt').write_text('bonn/bonn_99\n')
    with pytest.raises(FileNotFoundError, match=r"mine\.txt names .*\['bonn/bonn_99'\] \(1 of 1\)"):
        write_subset(str(tmp_path / 'mine.txt'), root, root, *TRAIN)
    for wrong in ('most', '1/0'):
        with pytest.raises(ValueError, match='neither a file nor a fraction such as 1/16'):
            write_subset(wrong, root, root, *TRAIN)
    with pytest.raises(ValueError, match='at most all'):
        write_subset('3/2', root, root, *TRAIN)
    with pytest.raises(FileNotFoundError, match=r'no \*_leftImg8bit\.png below'):
        write_subset('1/2', root / 'gtFine', root, *TRAIN)


def build(root, **options):
    return DATASETS.build(
        dict(
            type='DomainDataset',
            domain='citys',
            data_root=str(root),
            data_prefix=dict(img_path=TRAIN[0], seg_map_path='gtFine/train'),
            img_suffix=TRAIN[1],
            seg_map_suffix='_ids.png',
            **options,
        )
    )


def test_a_missing_list_is_named(root):
    with pytest.raises(FileNotFoundError, match=r'domain citys: no list .*mine\.txt'):
        build(root, ann_file='mine.txt')
    (root / 'mine.txt').write_text('')
    with pytest.raises(FileNotFoundError, match=r'no \*_leftImg8bit\.png in .*mine\.txt'):
        build(root, ann_file='mine.txt')


def test_the_domain_is_packed():
    results = dict(img_path='map/citys/fog.png', domain='rain', ori_shape=(1, 2), extra=1)
    sample = TRANSFORMS.build(dict(type='PackDomainInputs'))(results)['data_samples']
    assert sample.domain == 'rain' and sample.ori_shape == (1, 2) and 'extra' not in sample
    packer = TRANSFORMS.build(dict(type='PackDomainInputs', meta_keys=('extra',)))
    sample = packer(results)['data_samples']
    assert sample.domain == 'rain' and sample.extra == 1 and 'ori_shape' not in sample


def sampler(sizes=(5, 50), ratio=(3, 1), **options):
    dataset = ConcatDataset([range(size) for size in sizes])
    options = dict(type='RatioSampler', ratio=ratio, seed=0, dataset=dataset, **options)
    return DATA_SAMPLERS.build(options)


def test_ratio_sampler_draws_by_ratio_and_goes_through_each_part():
    drawn = list(itertools.islice(sampler(), 4000))
    first = [index for index in drawn if index < 5]
    assert 0.72 < len(first) / 4000 < 0.78
    assert set(drawn) == set(range(55))
    assert all(set(first[i : i + 5]) == set(range(5)) for i in range(0, len(first) - 5, 5))
    assert list(itertools.islice(sampler(), 100)) == drawn[:100]
    assert list(itertools.islice(sampler(shuffle=False), 100)) != drawn[:100]


def test_ratio_sampler_skips_as_mmengine_asks():
    whole = list(itertools.islice(sampler(), 60))
    rest = sampler()
    rest.skip(40)
    assert list(itertools.islice(rest, 20)) == whole[40:]


def test_ratio_sampler_refuses_what_makes_no_sense():
    for ratio in ((1,), (1, 0), (1, -2)):
        with pytest.raises(ValueError, match='2 numbers above 0'):
            sampler(ratio=ratio)
    with pytest.raises(TypeError, match='ConcatDataset, got a range'):
        DATA_SAMPLERS.build(dict(type='RatioSampler', ratio=[1], dataset=range(3)))
