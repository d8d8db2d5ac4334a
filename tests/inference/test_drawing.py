import numpy as np
import pytest

from soma.inference import colour_overlay, side_by_side, stack_rows

PALETTE = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 250)], np.uint8)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_colours_are_where_the_labels_say():
    image = noise(4, 6)
    labels = np.random.default_rng(1).integers(0, 3, (4, 6)).astype(np.uint8)
    labels[0, 0] = 255
    full = colour_overlay(image, labels, PALETTE, opacity=1)
    half = colour_overlay(image, labels, PALETTE, opacity=0.5)
    assert full.dtype == half.dtype == np.uint8 and full.shape == image.shape
    for y, x in np.ndindex(4, 6):
        if labels[y, x] == 255:
            assert (full[y, x] == image[y, x]).all() and (half[y, x] == image[y, x]).all()
        else:
            colour = PALETTE[labels[y, x]]
            assert (full[y, x] == colour).all()
            assert np.abs(half[y, x] - (colour / 2 + image[y, x] / 2)).max() <= 0.5


def test_no_opacity_shows_the_picture():
    image = noise(3, 3)
    assert (colour_overlay(image, np.zeros((3, 3), np.uint8), PALETTE, 0) == image).all()


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'\(4, 6\) and labels \(6, 4\) differ in size'):
        colour_overlay(noise(4, 6), np.zeros((6, 4), np.uint8), PALETTE)


def test_pictures_stand_beside_each_other():
    left, right = noise(60, 80), noise(60, 100, seed=1)
    sheet = side_by_side([left, right], ['left', 'right'])
    assert sheet.dtype == np.uint8 and sheet.shape[1] >= 180
    top = next(y for y in range(len(sheet)) if (sheet[y : y + 60, :80] == left).all())
    assert top > 0 and (sheet[:top] != 255).any()  # the titles
    assert (sheet[top : top + 60, -100:] == right).all()


@pytest.mark.parametrize('size', [(8, 8), (60, 80), (400, 700)])
def test_the_legend_shows_every_class(size):
    names = [f'class number {i}' for i in range(3)]
    plain = side_by_side([noise(*size)], ['x'])
    sheet = side_by_side([noise(*size)], ['x'], names, PALETTE)
    assert sheet.shape[0] > plain.shape[0] and sheet.shape[1] == plain.shape[1]
    legend = sheet[plain.shape[0] - 6 :]
    for colour in PALETTE:
        assert (legend == colour).all(-1).any()


def test_rows_are_stacked_on_white():
    top, bottom = noise(3, 5), noise(4, 7, seed=1)
    sheet = stack_rows([top, bottom])
    assert sheet.shape == (7, 7, 3)
    assert (sheet[:3, :5] == top).all() and (sheet[3:] == bottom).all()
    assert (sheet[:3, 5:] == 255).all()
