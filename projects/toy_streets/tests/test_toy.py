"""The toy streets: what they show, and that they do so again."""

import numpy as np
import pytest

from toy_streets import (
    DIVERSE_WEATHER_STYLES,
    DOMAIN_STYLES,
    random_style,
    render,
    sample_scene,
)

SIZE = (256, 128)
STYLES = {**DOMAIN_STYLES, 'random': random_style}
ALL_STYLES = {**STYLES, **DIVERSE_WEATHER_STYLES}


def rendering(domain, seed, size=SIZE):
    rng = np.random.default_rng([seed, 0])
    scene = sample_scene(rng)
    return render(scene, ALL_STYLES[domain](rng), size, rng)


@pytest.mark.parametrize('domain', ALL_STYLES)
def test_same_seed_same_image(domain):
    first, second = rendering(domain, 3), rendering(domain, 3)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert np.array_equal(first.instances, second.instances)
    assert np.array_equal(first.depth, second.depth)
    assert not np.array_equal(first.image, rendering(domain, 4).image)


@pytest.mark.slow
@pytest.mark.parametrize('domain', STYLES)
def test_every_class_appears_often_enough(domain):
    shares = []
    for seed in range(16):
        labels = rendering(domain, seed).labels
        assert set(np.unique(labels)) <= {*range(19), 255}
        shares.append(np.bincount(labels.ravel(), minlength=256)[:19] / labels.size)
    seen = (np.array(shares) > 0.0005).mean(0)
    assert seen.min() > 0.15, seen


@pytest.mark.parametrize('domain', ALL_STYLES)
def test_outputs(domain):
    result = rendering(domain, 5)
    assert result.image.shape == (128, 256, 3) and result.image.dtype == np.uint8
    assert result.labels.shape == (128, 256) and result.labels.dtype == np.uint8
    assert result.depth.shape == (128, 256) and result.depth.dtype == np.float32
    assert result.image.std() > 5
    assert np.isfinite(result.depth).all() and result.depth.min() > 0.2
    sky = result.labels == 10
    assert (result.depth[sky] == 1000).all()


def test_depth_of_the_road_is_that_of_a_plane():
    rng = np.random.default_rng(0)
    scene = sample_scene(rng)
    style = DOMAIN_STYLES['gta'](rng)
    result = render(scene, style, (512, 256), rng)
    rows, columns = np.nonzero(result.labels == 0)
    focal, horizon = style.focal * 512, style.horizon * 256 - 0.5
    expected = style.height * focal / (rows - horizon)
    close = rows > horizon + 30
    error = np.abs(result.depth[rows, columns] / expected - 1)[close]
    assert np.median(error) < 0.02


def test_appearance_leaves_geometry_alone():
    scene = sample_scene(np.random.default_rng(7))
    again = sample_scene(np.random.default_rng(7))
    style = DOMAIN_STYLES['night'](np.random.default_rng(1))
    first, second = (
        render(s, style, SIZE, np.random.default_rng(k)) for k, s in enumerate([scene, again])
    )
    assert scene == again
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.image, second.image)  # noise differs


def test_left_hand_traffic_mirrors_the_street():
    scene = sample_scene(np.random.default_rng(2))
    assert scene.mirrored() != scene
    assert scene.mirrored().mirrored() == scene
    assert scene.mirrored().kerb(-1) == scene.kerb(1)


def test_odd_sizes_and_tiny_sizes():
    assert rendering('rain', 0, (191, 105)).image.shape == (105, 191, 3)
    assert rendering('night', 0, (32, 32)).labels.shape == (32, 32)
    with pytest.raises(ValueError, match='at least 32'):
        rendering('gta', 0, (31, 64))
