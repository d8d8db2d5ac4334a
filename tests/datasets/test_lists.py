import pytest
from mmengine.registry import DATASETS
from PIL import Image

from soma.datasets.lists import parse_subset, read_names, write_subset
from soma.io.files import InputError

TRAIN = ('leftImg8bit/train', '_leftImg8bit.png')


@pytest.fixture
def root(tmp_path):
    for index in range(20):
        town = 'aachen' if index < 12 else 'bonn'
        path = tmp_path / f'leftImg8bit/train/{town}/{town}_{index:02d}_leftImg8bit.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path)
    return tmp_path


def subset(text, root, out=None, **options):
    images = [path for path in root.rglob('*.png') if 'aachen_00' not in path.name]
    return write_subset(parse_subset(text), images, root, *TRAIN, out or root, **options)


def test_a_fraction_is_drawn_by_seed(root):
    path = subset('1/4', root)
    assert path == root / 'train_1_4_v1.txt'
    names = path.read_text().splitlines()
    assert len(set(names)) == 5 and names == sorted(names)
    assert all((root / TRAIN[0] / (name + TRAIN[1])).exists() for name in names)
    before = path.read_bytes()
    assert subset('1/4', root).read_bytes() == before
    other = subset('1/4', root, seed=2)
    assert other.name == 'train_1_4_v2.txt' and other.read_bytes() != before
    path.write_text('bonn/bonn_15\n')  # another's list of this name stays
    with pytest.raises(FileExistsError, match=r'train_1_4_v1\.txt lists other images'):
        subset('1/4', root)
    assert path.read_text() == 'bonn/bonn_15\n'
    path.write_text(f'{names[0]}_leftImg8bit.png\n' + '\n'.join(names[1:]))  # the same
    assert subset('1/4', root).read_text().startswith(f'{names[0]}_left')
    assert len(subset('1/16', root).read_text().splitlines()) == 1
    everything = subset('1', root).read_text().splitlines()
    assert len(everything) == 19 and 'aachen/aachen_00' not in everything  # has no labels


@pytest.mark.parametrize(
    'line',
    [
        'bonn/bonn_15_leftImg8bit.png',
        '/somewhere/cityscapes/leftImg8bit/train/bonn/bonn_15_leftImg8bit.png',
        '  bonn/bonn_15  ',
    ],
)
def test_lists_of_users_are_understood(root, tmp_path, line):
    (tmp_path / 'mine.txt').write_text(f'{line}\n\naachen/aachen_03\n{line}\n')
    assert read_names(tmp_path / 'mine.txt', *TRAIN) == [
        *('bonn/bonn_15', 'aachen/aachen_03', 'bonn/bonn_15')
    ]
    out = tmp_path / 'out'
    written = subset(str(tmp_path / 'mine.txt'), root, out)
    assert written.read_text() == 'bonn/bonn_15\naachen/aachen_03\n'
    dataset = build(root, ann_file='mine.txt')
    assert [dataset[i]['img_path'] for i in range(2)] == [
        f'{root}/leftImg8bit/train/bonn/bonn_15_leftImg8bit.png',
        f'{root}/leftImg8bit/train/aachen/aachen_03_leftImg8bit.png',
    ]
    assert dataset[0]['seg_map_path'] == f'{root}/gtFine/train/bonn/bonn_15_ids.png'
    assert dataset[0]['domain'] == 'citys'


def test_what_is_wrong_with_a_subset_is_said(root, tmp_path):
    mine = tmp_path / 'mine.txt'
    for name in ('bonn/bonn_99', 'aachen/aachen_00'):
        mine.write_text(f'{name}\n')
        with pytest.raises(FileNotFoundError, match=rf"mine\.txt names .*\['{name}'\] \(1 of 1\)"):
            subset(str(mine), root)
    mine.write_text('bonn/bonn_15\n')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').write_text('bonn/bonn_14\n')
    with pytest.raises(FileExistsError, match='remove it or rename yours'):
        subset(str(mine), root, tmp_path / 'out')
    mine.write_text('\n')
    with pytest.raises(ValueError, match=r'mine\.txt lists no image'):
        subset(str(mine), root)
    mine.write_bytes(b'\x89\xff')
    with pytest.raises(ValueError, match=r'mine\.txt is no text file'):
        subset(str(mine), root)
    for wrong in ('most', '1/0'):
        with pytest.raises(ValueError, match='neither a file nor a fraction such as 1/16'):
            parse_subset(wrong)
    with pytest.raises(ValueError, match='at most all'):
        parse_subset('3/2')
    with pytest.raises(FileNotFoundError, match=r'no \*_leftImg8bit\.png with labels below'):
        write_subset(parse_subset('1/2'), [], root, *TRAIN, root)


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


@pytest.mark.parametrize(
    'line', ['../x', 'a/../../x', '/etc/passwd', '../images/..', 'images/../../x', 'a\0b']
)
def test_a_line_that_leads_out_of_the_folder_is_refused(tmp_path, line):
    (tmp_path / 'list.txt').write_text(f'a\n\n{line}\n')
    with pytest.raises(InputError, match=r'list\.txt, line 3: .* leads out of the folder images'):
        read_names(tmp_path / 'list.txt', 'images', '.png')


def test_names_with_dots_are_no_folders(tmp_path):
    (tmp_path / 'list.txt').write_text('a..b\n/data/images/c/d.png\nimages/e.f.png\n')
    assert read_names(tmp_path / 'list.txt', 'images', '.png') == ['a..b', 'c/d', 'e.f']
