"""PixMix and the bilateral filter."""

import cv2
import numpy as np
import pytest
from mmcv.transforms.utils import cache_random_params
from mmengine.registry import TRANSFORMS
from PIL import Image

from soma.datasets.pixmix import (
    MIXINGS,
    PixMix,
    Plan,
    Round,
    mix_by_addition,
    mix_by_multiplication,
)
from soma.utils.config import load_config


@pytest.fixture(scope='module')
def image():
    """A BGR image of edges and texture, 40 x 60."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (40, 60, 3))
    image[:, 30:] += 100
    image[10:20, 10:20, 0] = 0
    return image.astype(np.uint8)


@pytest.fixture(scope='module')
def mixing_set(tmp_path_factory):
    """Two images, one in a folder, and what is none."""
    root = tmp_path_factory.mktemp('fractals')
    rng = np.random.default_rng(1)
    (root / 'more').mkdir()
    for name, size in (('a.png', (30, 50)), ('more/b.jpg', (90, 80))):
        Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8)).save(root / name)
    (root / '.a.123.png').touch()
    (root / 'fractals.json').write_text('{}')
    return root


def build(mixing_set, **options):
    return TRANSFORMS.build(dict(type='PixMix', mixing_set=str(mixing_set), **options))


def planned(mixing_set, plan, **options):
    """PixMix that does what is planned."""
    return type('Planned', (PixMix,), {'_draw_plan': lambda self: plan})(mixing_set, **options)


def test_mixing_is_that_of_the_paper():
    """Worked out by hand: addition about the middle grey 0.5, multiplication with it as 1."""
    x, y = np.array([0.0, 0.25, 0.5, 1.0]), np.array([1.0, 0.5, 0.25, 0.125])
    # a (2x - 1) + b (2y - 1), from -1..1 back to 0..1
    added = mix_by_addition(x, y, 0.5, 0.25)
    np.testing.assert_allclose(added, [0.375, 0.375, 0.4375, 0.65625])
    # sqrt(2x) (2y)^(1/4) / 2
    multiplied = mix_by_multiplication(x, y, 0.5, 0.25)
    expected = [0, 0.5 * 0.5**0.5, 0.5 * 0.5**0.25, 0.5 * 2**0.5 * 0.25**0.25]
    np.testing.assert_allclose(multiplied, expected)
    for mixing in MIXINGS:  # nothing of the other
        np.testing.assert_allclose(mixing(x, y, 1.0, 0.0), x)


def test_black_has_negative_powers():
    black, bright = np.zeros(1, np.float32), np.full(1, 0.5, np.float32)
    assert mix_by_multiplication(bright, black, 1.0, -1.0) > 1e30
    assert np.isfinite(mix_by_multiplication(bright, black, 2.0, -1.0))
    assert mix_by_multiplication(black, black, 1.5, -0.5) == 0


def test_the_image_keeps_its_kind_and_nothing_else_changes(image, mixing_set):
    transform = build(mixing_set)
    labels = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    before, changed = image.copy(), 0
    np.random.seed(0)
    for _ in range(30):
        results = dict(img=image, gt_seg_map=labels, img_shape=(40, 60), domain='gta')
        done = transform(dict(results))
        mixed = done.pop('img')
        assert mixed.dtype == np.uint8 and mixed.shape == image.shape
        assert done.keys() == results.keys() - {'img'}
        assert done['gt_seg_map'] is labels and done['img_shape'] == (40, 60)
        changed += not np.array_equal(mixed, image)
    assert changed > 20  # all but those of no round that start from the image
    assert np.array_equal(image, before)  # mmcv may have it in a cache
    assert np.array_equal(labels.ravel(), np.arange(40 * 60, dtype=np.uint8))


@pytest.mark.parametrize('mixing', [0, 1])
def test_values_are_mixed_from_0_to_1(image, mixing_set, mixing):
    """The mixed fractal is what the formula gives of 0..1, times 255; not of 0..255."""
    plan = Plan(False, [Round(True, mixing, 0.8, 0.3)], 0, (0.0, 0.0))
    transform = planned(mixing_set, plan)
    fractal = transform._read_fractal(plan, image.shape[:2])
    expected = MIXINGS[mixing](image / 255, fractal / 255, 0.8, 0.3).clip(0, 1)
    result = transform({'img': image})['img']
    assert np.abs(result - 255 * expected).max() <= 0.501
    assert np.abs(result - image.astype(float)).max() > 20


@pytest.mark.parametrize('first', [0, 1])
@pytest.mark.parametrize('second', [0, 1])
def test_the_release_mixes_bytes_with_fractals_from_0_to_1(image, mixing_set, first, second):
    """As its code computes, written out: doubled bytes modulo 256, fractals of 0 to 1."""
    rounds = [Round(False, first, 0.7, 0.4), Round(True, second, 1.2, -0.3)]
    plan = Plan(False, rounds, 0, (0.0, 0.0))
    transform = planned(mixing_set, plan, scale='release')
    copy = image[:, ::-1].copy()
    transform._augmented = lambda img: copy
    fractal = transform._read_fractal(plan, image.shape[:2]) / 255.0
    x, y = image.astype(float), copy.astype(float)
    if first:
        mixed = ((2 * x) % 256) ** 0.7 * np.maximum((2 * y) % 256, 1e-37) ** 0.4 / 2
    else:
        mixed = (0.7 * ((2 * x - 255) % 256) + 0.4 * ((2 * y - 255) % 256) + 255) / 2
    mixed = np.clip(mixed, 0, 255)
    if second:
        mixed = (2 * mixed) ** 1.2 * np.maximum(2 * fractal, 1e-37) ** -0.3 / 2
    else:
        mixed = (1.2 * (2 * mixed - 255) - 0.3 * (2 * fractal - 255) + 255) / 2
    result = transform({'img': image})['img']
    assert result.dtype == np.uint8
    assert np.abs(result - np.clip(mixed, 0, 255)).max() <= 0.501


def test_the_release_changes_images_more(image, mixing_set):
    change = {}
    for scale in ('paper', 'release'):
        transform = build(mixing_set, scale=scale)
        np.random.seed(0)
        mixed = [transform({'img': image})['img'].astype(float) for _ in range(60)]
        change[scale] = np.abs(np.array(mixed) - image).mean()
    assert 10 < change['paper'] < 40 and change['release'] > 2 * change['paper']


@pytest.mark.parametrize('scale', ['paper', 'release'])
def test_no_round_leaves_the_image(image, mixing_set, scale):
    transform = planned(mixing_set, Plan(False, [], 0, (0, 0)), scale=scale)
    assert np.array_equal(transform({'img': image})['img'], image)
    # and an augmented copy differs in brightness and colour, not in place
    transform = planned(mixing_set, Plan(True, [], 0, (0, 0)))
    np.random.seed(2)
    copy = transform({'img': image})['img']
    assert not np.array_equal(copy, image)
    (before, after) = (cv2.cvtColor(x, cv2.COLOR_BGR2GRAY).ravel() for x in (image, copy))
    assert np.corrcoef(before, after)[0, 1] > 0.9


def test_a_fractal_covers_images_of_any_size(mixing_set):
    transform = build(mixing_set)
    for index in range(2):
        for size in ((40, 60), (33, 17), (5, 200), (300, 20)):
            cuts = [
                transform._read_fractal(Plan(False, [], index, place), size)
                for place in ((0.0, 0.0), (1.0, 1.0), (0.3, 0.999))
            ]
            assert [cut.shape for cut in cuts] == [(*size, 3)] * 3
            assert not np.array_equal(*cuts[:2])


def test_what_is_drawn(mixing_set):
    transform = build(mixing_set, k=4, beta=3, prob=0.8)
    np.random.seed(0)
    plans = [transform._draw_plan() for _ in range(3000)]
    assert np.mean([plan is None for plan in plans]) == pytest.approx(0.2, abs=0.03)
    plans = [plan for plan in plans if plan]
    counts = np.bincount([len(plan.rounds) for plan in plans], minlength=5)
    assert len(counts) == 5 and counts / len(plans) == pytest.approx(np.full(5, 0.2), abs=0.03)
    assert {plan.fractal for plan in plans} == {0, 1}
    assert np.mean([plan.augmented for plan in plans]) == pytest.approx(0.5, abs=0.04)
    fractal, mixing, a, b = np.array([step for plan in plans for step in plan.rounds]).T
    assert fractal.mean() == pytest.approx(0.5, abs=0.03)
    assert mixing.mean() == pytest.approx(0.5, abs=0.03)
    # means of the beta distributions: 3/4 and 1/4, or 1 + 1/4 and -1/4
    more = b < 0
    assert more.mean() == pytest.approx(0.5, abs=0.03)
    assert (a[~more].mean(), b[~more].mean()) == pytest.approx((0.75, 0.25), abs=0.02)
    assert (a[more].mean(), b[more].mean()) == pytest.approx((1.25, -0.25), abs=0.02)
    assert a.min() >= 0 and a.max() <= 2 and np.abs(b).max() <= 1


@pytest.mark.parametrize('kind', ['PixMix', 'BilateralFilter'])
def test_numpys_seed_decides(image, mixing_set, kind):
    options = dict(mixing_set=str(mixing_set)) if kind == 'PixMix' else {}

    def run(seed):
        transform = TRANSFORMS.build(dict(type=kind, **options))
        np.random.seed(seed)
        return [transform({'img': image})['img'] for _ in range(8)]

    first, again, other = run(0), run(0), run(1)
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_images_share_what_is_drawn(image, mixing_set):
    transform = build(mixing_set)
    with cache_random_params(transform):
        assert transform._draw_plan() is transform._draw_plan()
    transform = TRANSFORMS.build(dict(type='BilateralFilter'))
    with cache_random_params(transform):
        assert len({transform._draw_diameter() for _ in range(30)}) == 1


@pytest.mark.parametrize(
    'options',
    [dict(k=0), dict(k=2.5), dict(beta=0), dict(prob=0), dict(prob=1.1), dict(scale='bytes')],
)
def test_bad_options_of_pixmix_are_refused(mixing_set, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        build(mixing_set, **options)


def test_a_folder_without_images_says_how_to_make_them(tmp_path):
    (tmp_path / 'x.txt').touch()
    for folder in (tmp_path, tmp_path / 'none'):
        with pytest.raises(FileNotFoundError, match=rf'make_fractals\.py {folder}'):
            build(folder)


@pytest.mark.parametrize('content', [b'no image', b''])
def test_a_broken_fractal_is_named(image, tmp_path, content):
    (tmp_path / 'broken.png').write_bytes(content)
    plan = Plan(False, [Round(True, 0, 1.0, 0.1)], 0, (0, 0))
    transform = planned(tmp_path, plan)
    with pytest.raises(OSError, match=r'broken\.png'):
        transform({'img': image})


@pytest.mark.parametrize('wrong', [lambda x: x / 255, lambda x: x[..., 0].astype(float)])
def test_normalised_images_are_refused(image, mixing_set, wrong):
    for transform in (build(mixing_set), TRANSFORMS.build(dict(type='BilateralFilter'))):
        with pytest.raises(ValueError, match='as it is loaded'):
            transform({'img': wrong(image)})


def test_configs_find_their_fractals_in_the_repository(mixing_set, tmp_path, monkeypatch):
    root = tmp_path / 'repository'
    (root / 'data').mkdir(parents=True)
    (root / 'data/fractals').symlink_to(mixing_set)
    (root / 'config.py').write_text(
        "pipeline = [dict(type='PixMix', mixing_set='data/fractals', k=2)]\n"
    )
    monkeypatch.setattr('soma.utils.config.REPOSITORY', root)
    (step,) = load_config(root / 'config.py').pipeline
    transform = TRANSFORMS.build(step)
    assert len(transform.fractals) == 2
    shown = f"PixMix(mixing_set='{root}/data/fractals', k=2, beta=3.0, prob=1.0, scale='paper')"
    assert repr(transform) == shown


def test_the_bilateral_filter_smooths_and_keeps_edges(image):
    transform = TRANSFORMS.build(dict(type='BilateralFilter', prob=1.0))
    np.random.seed(0)
    labels = np.zeros((40, 60), np.uint8)
    done = transform(dict(img=image, gt_seg_map=labels))
    filtered = done['img']
    assert filtered.shape == image.shape and filtered.dtype == np.uint8
    assert done['gt_seg_map'] is labels
    texture = np.s_[25:35, 5:25]
    assert filtered[texture].std() < 0.8 * image[texture].std()
    edge = filtered[:, 31:33].mean() - filtered[:, 27:29].mean()
    assert edge > 0.9 * (image[:, 31:33].mean() - image[:, 27:29].mean())


def test_diameters_of_the_bilateral_filter():
    transform = TRANSFORMS.build(dict(type='BilateralFilter', prob=0.5, max_diameter=8))
    np.random.seed(0)
    drawn = np.array([transform._draw_diameter() for _ in range(2000)])
    assert {*drawn} == {0, 3, 5, 7}
    assert (drawn == 0).mean() == pytest.approx(0.5, abs=0.04)
    assert 'max_diameter=8' in repr(transform)
    image = np.zeros((4, 4, 3), np.uint8)
    never = TRANSFORMS.build(dict(type='BilateralFilter', prob=1e-9))
    assert never({'img': image})['img'] is image


@pytest.mark.parametrize(
    'options', [dict(prob=0), dict(prob=2), dict(max_diameter=2), dict(sigma_color=0)]
)
def test_bad_options_of_the_bilateral_filter_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TRANSFORMS.build(dict(type='BilateralFilter', **options))
