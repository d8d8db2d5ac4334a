import pytest
from mmengine.registry import DATASETS
from PIL import Image

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
    (path.parent / TRAIN[0] / '._hidden_leftImg8bit.png').touch()
    names = path.read_text().splitlines()
    assert len(set(names)) == 5 and names == sorted(names)
    assert all((root / TRAIN[0] / (name + TRAIN[1])).exists() for name in names)
    before = path.read_bytes()
    assert write_subset('1/4', root, root, *TRAIN).read_bytes() == before
    other = write_subset('1/4', root, root, *TRAIN, seed=2)
    assert other.name == 'train_1_4_v2.txt' and other.read_bytes() != before
    path.write_text('bonn/bonn_15\n')  # another's list of this name stays
    with pytest.raises(FileExistsError, match=r'train_1_4_v1\.txt lists other pictures'):
        write_subset('1/4', root, root, *TRAIN)
    assert path.read_text() == 'bonn/bonn_15\n'
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
