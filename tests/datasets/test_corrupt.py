"""Corruptions of images: as the package makes them, and the same whatever else is drawn."""

import sys
import types

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from soma.datasets.corrupt import CORRUPTIONS, Corrupt
from soma.io.files import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (33, 40, 3), np.uint8)


def sample(name='a/street_1.png', image=IMAGE):
    return {'img': image.copy(), 'img_path': name}


def corrupted(step, *arguments):
    return step.transform(sample(*arguments))['img']


@pytest.fixture
def package(monkeypatch):
    """A stand-in: noise from NumPy's global generator, or from a seed, and no red."""

    def with_seed(x, severity, seed=None):
        return np.random.default_rng(seed).integers(0, 256, x.shape)

    def without_seed(x, severity):
        return np.random.randint(0, 256, x.shape) // severity

    def no_red(x, severity):
        return x * np.array([0, 1, 1], np.uint8)

    functions = {'impulse_noise': with_seed, 'shot_noise': without_seed, 'fog': no_red}
    functions = dict.fromkeys(CORRUPTIONS, no_red) | functions

    def corrupt(image, severity=1, corruption_name=None, **kwargs):
        return functions[corruption_name](image, severity, **kwargs).astype(np.uint8)

    module = types.ModuleType('imagecorruptions')
    module.corrupt, module.corruption_dict = corrupt, functions
    monkeypatch.setitem(sys.modules, 'imagecorruptions', module)
    return module


@pytest.mark.parametrize('name', ['shot_noise', 'impulse_noise'])
def test_noise_depends_on_image_corruption_and_severity_alone(package, name):
    step = TRANSFORMS.build(dict(type='Corrupt', name=name, severity=2))
    first = corrupted(step)
    np.random.seed(3)
    corrupted(step, 'b/street_2.png')
    before = np.random.get_state()[1].copy()
    assert np.array_equal(corrupted(step, 'elsewhere/street_1.png'), first)
    assert np.array_equal(np.random.get_state()[1], before)
    assert not np.array_equal(corrupted(step, 'a/street_2.png'), first)
    if name == 'shot_noise':
        assert not np.array_equal(corrupted(Corrupt(name, 1)) // 2, first)


def test_the_package_gets_red_first(package):
    result = corrupted(Corrupt('fog', 1))
    assert not result[..., 2].any() and np.array_equal(result[..., :2], IMAGE[..., :2])
    assert result.dtype == np.uint8 and result.flags.c_contiguous


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (IMAGE.astype(np.float32), 'before any normalisation, got float32'),
        (IMAGE[..., 0], r'shape \(33, 40\)'),
        (IMAGE[:31], 'at least 32 x 32 pixels, got 40 x 31'),
    ],
)
def test_other_images_are_refused(package, image, message):
    with pytest.raises(InputError, match=message):
        corrupted(Corrupt('fog', 1), 'a.png', image)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('fogg', 1), "no corruption 'fogg': choose from gaussian_noise, shot_noise"),
        (('fog', 0), 'is 1 to 5, got 0'),
        (('fog', 6), 'got 6'),
        (('fog', True), 'got True'),
        (('fog', 2.5), 'got 2.5'),
        (('fog', 1.0), 'got 1.0'),
    ],
)
def test_unknown_corruptions_are_refused(package, arguments, message):
    with pytest.raises(InputError, match=message):
        Corrupt(*arguments)


def test_the_package_is_missing_or_old(package, monkeypatch):
    package.corrupt = lambda image, severity=1, corruption_name=None, corruption_number=-1: image
    with pytest.raises(InputError, match=r'old release, .*imagecorruptions-imaug$'):
        Corrupt('fog', 1)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[corruptions\]' brings it$"):
        Corrupt('fog', 1)


def test_all_corruptions_of_the_package(monkeypatch):
    package = pytest.importorskip('imagecorruptions')
    assert sorted(package.get_corruption_names('all')) == sorted(CORRUPTIONS)
    assert package.get_corruption_names('common') == list(CORRUPTIONS[:15])
    shuffle = package.corruptions._shuffle_pixels_njit_glass_blur
    monkeypatch.setattr(package.corruptions, shuffle.__name__, shuffle.py_func)  # no compilation
    grey = np.linspace(40, 200, 33 * 40).reshape(33, 40).astype(np.uint8)
    smooth = np.dstack([grey, grey // 2, 255 - grey])
    for name in CORRUPTIONS:
        for severity in (1, 5):
            step = Corrupt(name, severity)
            result = corrupted(step, 'a.png', smooth)
            assert result.shape == smooth.shape and result.dtype == np.uint8, name
            assert (result != smooth).any(), name
            assert np.array_equal(corrupted(step, 'a.png', smooth), result), name
    by_severity = [corrupted(Corrupt('gaussian_noise', s), 'a.png', smooth) for s in (1, 3, 5)]
    changes = [np.abs(result.astype(int) - smooth).mean() for result in by_severity]
    assert changes[0] < changes[1] < changes[2]
