"""The boxes of the toy streets."""

import numpy as np
import pytest

from soma.datasets.voc_files import VOCBox, read_voc
from soma.utils.config import REPOSITORY
from toy_streets import DIVERSE_WEATHER_STYLES, render, sample_scene, write_toy_streets
from toy_streets.boxes import NAMES, visible_boxes
from toy_streets.render import Rendering

SIZE = (256, 128)
SCRIPT = REPOSITORY / 'projects/toy_streets/make_toy_streets.py'


def seen(*things, brightness=200):
    """Boxes of rectangles (instance, label, x, y, width, height) before a dark wall."""
    labels, instances = np.full((64, 96), 2, np.uint8), np.ones((64, 96), np.int32)
    image = np.full((64, 96, 3), 50, np.uint8)
    for instance, label, x, y, w, h in things:
        area = np.s_[y : y + h, x : x + w]
        labels[area], instances[area], image[area] = label, instance, brightness
    return visible_boxes(Rendering(image, labels, instances, np.ones((64, 96), np.float32)))


def test_corners_count_from_one_and_include_the_last_pixel():
    assert seen((2, 13, 10, 20, 30, 12)) == [VOCBox('car', (11, 21, 40, 32))]


def test_one_box_for_each_thing_and_class():
    boxes = seen((2, 13, 5, 5, 20, 10), (3, 13, 25, 5, 20, 10), (4, 12, 60, 5, 10, 20))
    assert [box.name for box in boxes] == ['car', 'car', 'rider']
    assert [box.corners[0] for box in boxes] == [6, 26, 61]
    rider, bike = seen((2, 12, 20, 10, 10, 20), (2, 18, 18, 30, 14, 12))
    assert rider == VOCBox('rider', (21, 11, 30, 30)) and bike == VOCBox('bike', (19, 31, 32, 42))


def test_a_lamp_in_front_does_not_cut_a_box_in_two():
    assert seen((2, 15, 10, 20, 40, 20), (3, 5, 25, 0, 4, 64)) == [VOCBox('bus', (11, 21, 50, 40))]


def test_what_touches_the_edge_is_truncated():
    assert seen((2, 14, 0, 20, 30, 20)) == [VOCBox('truck', (1, 21, 30, 40), truncated=True)]
    at_the_edge, beside_it = seen((2, 14, 80, 20, 16, 10)), seen((2, 14, 79, 20, 16, 10))
    assert at_the_edge[0].truncated and not beside_it[0].truncated


@pytest.mark.parametrize(
    'thing',
    [
        (2, 13, 20, 20, 5, 30),  # too narrow
        (2, 16, 20, 20, 30, 20),  # a tram is in none of the classes
        (2, 2, 20, 20, 30, 20),
    ],
)
def test_what_gets_no_box(thing):
    assert seen(thing) == []


def test_specks_beyond_what_hides_a_thing_are_not_looked_at():
    assert seen((2, 13, 10, 20, 20, 20), (2, 13, 60, 30, 3, 3)) == [VOCBox('car', (11, 21, 30, 40))]
    wheel_and_handlebar = (2, 18, 20, 20, 8, 20), (2, 18, 16, 14, 3, 2)
    assert seen(*wheel_and_handlebar) == [VOCBox('bike', (17, 15, 28, 40))]


def test_what_cannot_be_told_from_the_wall_gets_no_box():
    car = (2, 13, 10, 20, 30, 20)
    assert seen(car, brightness=52) == [] and len(seen(car, brightness=62)) == 1


@pytest.mark.parametrize(
    'domain',
    [
        d if 'rainy' in d else pytest.param(d, marks=pytest.mark.slow)
        for d in DIVERSE_WEATHER_STYLES
    ],
)
def test_boxes_of_streets_fit_what_is_seen(domain):
    names = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        result = render(sample_scene(rng), DIVERSE_WEATHER_STYLES[domain](rng), SIZE, rng)
        boxes = visible_boxes(result)
        names |= {box.name for box in boxes}
        for box in boxes:
            left, top, right, bottom = box.corners
            assert 1 <= left < right <= SIZE[0] and 1 <= top < bottom <= SIZE[1]
            mask = np.isin(result.labels, [k for k, name in NAMES.items() if name == box.name])
            mask = mask[top - 1 : bottom, left - 1 : right]
            assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
    assert len(names) >= 5


def test_files(tmp_path):
    domains = ['daytime_clear', 'night_rainy']
    write_toy_streets(tmp_path, 3, SIZE, domains=domains, val_images=2)
    counts = {'daytime_clear/VOC2007/ImageSets/Main/train.txt': 3,
              'daytime_clear/VOC2007/ImageSets/Main/test.txt': 2,
              'night_rainy/VOC2007/ImageSets/Main/train.txt': 2}  # fmt: skip
    root = tmp_path / 'diverseWeather'
    assert {str(path.relative_to(root)) for path in root.rglob('*.txt')} == set(counts)
    boxes = 0
    for path, count in counts.items():
        names = (root / path).read_text().split()
        assert len(set(names)) == count
        for name in names:
            folder = (root / path).parents[2]
            assert (folder / f'JPEGImages/{name}.jpg').stat().st_size > 1000
            size, voc_boxes = read_voc(folder / f'Annotations/{name}.xml')
            assert size == SIZE
            boxes += len(voc_boxes)
    assert boxes > 20
    assert len(list(root.rglob('*.xml'))) == len(list(root.rglob('*.jpg'))) == 7


def test_the_script_makes_all_domains_of_a_task(tmp_path, run_here):
    out = tmp_path / 'data'
    run_here(SCRIPT, out, '--task', 'detection', '--images', 1, '--size', '64x48')
    folders = {'daytime_clear', 'Night-Sunny', 'dusk_rainy', 'night_rainy', 'daytime_foggy'}
    assert {path.name for path in (out / 'diverseWeather').iterdir()} == folders
    assert {path.name for path in out.iterdir()} == {'diverseWeather', 'toy_streets.json'}
