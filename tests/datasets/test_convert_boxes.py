"""tools/convert_datasets/diverse_weather.py on clean boxes, and on odd and broken ones."""

import json

import pytest
from dataset_files import VOC_BOXES, VOC_SIZE, digests, write_voc_data
from PIL import Image

from soma.datasets.prepare.convert import convert_dataset
from soma.datasets.voc_files import VOCBox, read_voc, write_voc
from soma.io.files import InputError

SCRIPT = 'convert_datasets/diverse_weather.py'
FOLDER = 'daytime_clear/VOC2007'


@pytest.fixture
def root(tmp_path):
    lists = {'daytime_clear/train': ['a', 'b'], 'daytime_clear/test': ['c', 'b']}
    write_voc_data(tmp_path / 'raw', {**lists, 'night_rainy/train': ['d']})
    return tmp_path / 'raw'


def annotation(root, name):
    return root / f'{FOLDER}/Annotations/{name}.xml'


def test_clean_files_are_left_as_they_are(root):
    before = digests(root)
    summary = convert_dataset('diverseWeather', root)
    assert (summary.converted, summary.skipped, summary.failed) == (0, 3 + 4, 0)
    assert not summary.remarks and summary.counts.total == 4
    assert summary.counts.to_dict()['boxes']['car'] == 4
    assert json.loads((root / 'conversion.json').read_text())['boxes']['person'] == 4
    (root / 'conversion.json').unlink()
    assert digests(root) == before


def test_another_folder_gets_clean_files(root, tmp_path):
    boxes = [
        VOCBox('CAR ', (-1, 0, 40, 99), truncated=True),
        VOCBox('bicycle', (1, 1, 20, 20)),
        VOCBox('person', (30, 10, 30, 40)),
        VOCBox('person', (101, 10, 140, 40)),
        VOCBox('bus', (50, 5, 90, 30), difficult=True),
    ]
    write_voc(annotation(root, 'a'), 'a.jpg', (200, 120), boxes)
    (root / FOLDER / 'ImageSets/Main/train.txt').write_text('\n a.jpg\nb\n')
    before, out = digests(root), tmp_path / 'clean'
    summary = convert_dataset('diverseWeather', root, out, nproc=2)
    assert digests(root) == before
    assert (summary.converted, summary.skipped, summary.failed) == (3 + 4, 0, 0)
    assert read_voc(annotation(out, 'a')) == (
        VOC_SIZE,
        [
            VOCBox('car', (1, 1, 40, 60), truncated=True),
            VOCBox('bus', (50, 5, 90, 30), difficult=True),
        ],
    )
    assert read_voc(annotation(out, 'b')) == (VOC_SIZE, VOC_BOXES)
    (remark,) = summary.remarks.values()
    for part in (
        "1 object of classes that there are not: 'bicycle'",
        '1 object whose box has no width or no height: person (30, 10, 30, 40)',
        '1 object whose box is outside the 100 x 60 pixels: person (101, 10, 140, 40)',
        '1 object whose box reaches beyond the 100 x 60 pixels: car (-1, 0, 40, 99)',
        'is of 200 x 120 pixels, its image of 100 x 60',
    ):
        assert part in remark
    assert (out / FOLDER / 'ImageSets/Main/train.txt').read_text() == 'a\nb\n'
    assert Image.open(out / FOLDER / 'JPEGImages/a.jpg').size == VOC_SIZE  # through a link
    again = convert_dataset('diverseWeather', root, out)
    assert (again.converted, again.skipped) == (0, 3 + 4)
    damaged = out / FOLDER / 'ImageSets/Main/train.txt'
    damaged.write_bytes(b'a\xff')
    annotation(out, 'b').write_text('<annotation>')
    again = convert_dataset('diverseWeather', root, out)
    assert (again.converted, again.failed) == (2, 0) and damaged.read_text() == 'a\nb\n'
    clean = convert_dataset('diverseWeather', out)
    assert not clean.remarks and clean.counts.to_dict() == summary.counts.to_dict()


def test_in_place_oddities_are_named(root):
    boxes = [VOC_BOXES[0]._replace(corners=(0, 21, 60, 50))]
    write_voc(annotation(root, 'a'), 'a.jpg', VOC_SIZE, boxes)
    write_voc(annotation(root, 'b'), 'b.jpg', VOC_SIZE, [])
    before = annotation(root, 'a').read_bytes()
    summary = convert_dataset('diverseWeather', root)
    assert summary.remarks.keys() == {str(annotation(root, name)) for name in 'ab'}
    assert 'has no object' in summary.remarks[str(annotation(root, 'b'))]
    assert annotation(root, 'a').read_bytes() == before and not summary.failures


def test_broken_files_fail_and_the_others_do_not(root, tmp_path):
    annotation(root, 'a').write_text('<annotation>')
    annotation(root, 'b').unlink()
    (root / FOLDER / 'JPEGImages/c.jpg').write_text('no image')
    summary = convert_dataset('diverseWeather', root, tmp_path / 'clean')
    reasons = {name: summary.failures[str(annotation(root, name))] for name in 'abc'}
    assert reasons['a'].startswith('is no XML') and reasons['b'] == 'is missing'
    assert reasons['c'].endswith('JPEGImages/c.jpg is no image')
    assert summary.failed == 3 and summary.counts.total == 1


def test_the_script(root, run_here, capsys):
    with pytest.raises(SystemExit) as exit:
        run_here(SCRIPT, root)
    assert exit.value.code == 0
    printed = capsys.readouterr().out
    assert 'boxes (images)' in printed and '4 (4)' in printed and '7 already there' in printed
    annotation(root, 'a').write_text('<annotation>')
    with pytest.raises(SystemExit) as exit:
        run_here(SCRIPT, root)
    assert exit.value.code == 1
    assert f'failed: {annotation(root, "a")} is no XML' in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r'expected folders such as .*daytime_clear'):
        run_here(SCRIPT, root / 'daytime_clear')


@pytest.mark.parametrize('line', ['../../../../escaped', '/tmp/escaped'])
def test_a_list_that_leads_elsewhere_writes_nothing(root, tmp_path, line):
    path = root / FOLDER / 'ImageSets/Main/train.txt'
    path.write_text(f'a\n{line}\n')
    before = digests(tmp_path)
    with pytest.raises(InputError, match=r'train\.txt, line 2: .*escaped.* leads out of'):
        convert_dataset('diverseWeather', root, tmp_path / 'out')
    assert digests(tmp_path) == before


def test_an_image_too_large_to_read_fails_alone(root, monkeypatch):
    Image.new('1', (300, 200)).save(root / FOLDER / 'JPEGImages/b.jpg')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100 * 60 + 1)
    summary = convert_dataset('diverseWeather', root)
    ((path, reason),) = summary.failures.items()
    assert path.endswith('b.xml') and 'b.jpg Image size (60000 pixels) exceeds limit' in reason
    assert summary.counts.total == 3
