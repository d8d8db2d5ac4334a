import copy
import json

import pytest
from comparison import compare
from PIL import Image

from soma.io.files import InputError
from soma.io.reports import find_report

CLASSES = ('road', 'sky', 'car')


def report(shift=0.0, domains=('citys', 'fog')):
    made = {}
    for index, name in enumerate(domains):
        ious = dict(zip(CLASSES, (50 + shift, 60.0 + index, None), strict=True))
        made[name] = dict(mIoU=55 + (shift + index) / 2, images=4, IoU=ious)
    mean = dict(mIoU=55.25 + shift / 2)
    return dict(score='IoU', domains=made, mean_over=list(domains), mean=mean)


@pytest.fixture
def write(tmp_path):
    def write(name, content, file='domains_test.json'):
        path = tmp_path / name / '2026' / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return path

    return write


def test_two_tests_are_compared(write, tmp_path, run_here, capsys):
    write('a', report())
    for other in ('domains_iter_40', 'domains_test_fog_3'):  # neither is the test
        write('a', report(-9), f'{other}.json')
    turned = report(2)
    for part in (turned['mean'], *turned['domains'].values()):
        part['ECE'] = 5.0  # that the first does not have
    turned['domains'] = dict(reversed(turned['domains'].items()))
    second = write('b', turned)
    out = tmp_path / 'out'
    run_here('analysis_tools/compare.py', tmp_path / 'a', second, '--out', out)
    printed = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in printed.splitlines()]
    assert ['road', 'a', '50.00', '50.00', '50.00'] in rows
    assert ['', 'b', '52.00 (+2.00)', '52.00 (+2.00)', '52.00 (+2.00)'] in rows
    assert ['', 'b', '56.00 (+1.00)', '56.50 (+1.00)', '56.25 (+1.00)'] in rows
    assert ['car', 'a', '-', '-', '-'] in rows
    page = (out / 'compare.html').read_text()
    assert '56.25 (+1.00)' in page and '<span class="good">+2.00</span>' in page
    assert '<span class="same">0.00</span>' in page
    assert all(Image.open(out / f'{name}.png').width > 400 for name in ('domains', 'classes'))
    assert 'ECE' not in page
    first = report()
    for part in (first['mean'], *first['domains'].values()):
        part['ECE'] = 6.0
    compare([write('c', first), second], out=out)
    assert '5.00 <span class="good">-1.00</span>' in (out / 'compare.html').read_text()


def test_what_cannot_be_compared_is_refused(write, tmp_path):
    first = write('a', report())
    other = copy.deepcopy(report())
    other['domains']['fog']['images'] = 5
    renamed = report()
    for domain in renamed['domains'].values():
        domain['IoU']['truck'] = domain['IoU'].pop('car')
    wrong = [
        ([first, write('b', report(domains=('citys', 'rain')))], None, 'b/.* has domains'),
        ([first, write('c', other)], None, 'c/.* is of 5 images of fog'),
        ([first, write('d', renamed)], None, r"different classes: \['car', 'truck'\]"),
        ([first, write('e', dict(score='IoU'))], None, 'e/.* is no report'),
        ([first], None, 'two tests'),
        ([first, first], ['x'], '--names: x: give 2 different ones'),
    ]
    for paths, names, message in wrong:
        with pytest.raises(InputError, match=message):
            compare(paths, names, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    named = write('f', report(), 'domains_test_fog_3.json')
    with pytest.raises(InputError, match=f'f has no domains_test.json: .* such as {named}'):
        find_report(tmp_path / 'f')
    with pytest.raises(FileNotFoundError, match='nowhere does not exist: name a report'):
        find_report(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(
        InputError, match=r'empty has no domains_test\.json: python tools/test\.py CONFIG CHECK'
    ):
        find_report(tmp_path / 'empty')


def test_a_validation_in_the_place_of_a_test_is_told_of(write, tmp_path, caplog):
    write('a', report(), 'domains_iter_40.json')
    assert find_report(tmp_path / 'a').name == 'domains_iter_40.json'
    assert 'a has no test: its validation domains_iter_40.json is taken' in caplog.text
