import numpy as np
import pytest
from mmengine.structures import InstanceData

from soma.inference import colour_overlay, draw_boxes, side_by_side, stack_rows
from soma.utils.colours import colours_of

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


def test_classes_without_colours_get_bright_ones_that_differ():
    colours = colours_of(dict(classes=[*map(str, range(100))])).astype(int)
    assert colours[:2].tolist() == [[230, 159, 0], [86, 180, 233]]
    away = np.abs(colours[:, None] - colours).sum(-1) + 999 * np.eye(100)
    assert colours.max(1).min() >= 100 and away.min() >= 30
    assert (colours_of(dict(classes=[*map(str, range(30))])) == colours[:30]).all()
    binary = colours_of(dict(classes=['background', 'leaf'], palette=PALETTE.tolist()))  # of three
    assert binary.tolist() == [[70, 70, 70], [230, 159, 0]]


def test_no_opacity_shows_the_image():
    image = noise(3, 3)
    assert (colour_overlay(image, np.zeros((3, 3), np.uint8), PALETTE, 0) == image).all()


def test_labels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'\(4, 6\) and labels \(6, 4\) differ in size'):
        colour_overlay(noise(4, 6), np.zeros((6, 4), np.uint8), PALETTE)


def test_images_stand_beside_each_other():
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


def boxes(*corners, labels, scores=None):
    objects = InstanceData(bboxes=np.array(corners, np.float32).reshape(-1, 4))
    objects.labels = np.array(labels, int)
    if scores is not None:
        objects.scores = np.array(scores, np.float32)
    return objects


def differs(drawn, image):
    """Left, top, right and bottom of what has changed; None if nothing has."""
    rows, columns = np.nonzero((drawn != image).any(-1))
    return (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else None


def test_boxes_are_drawn_where_they_are():
    image = noise(200, 300)
    before = image.copy()
    drawn = draw_boxes(image, boxes((100, 60, 180, 150), labels=[0]), 'abc', PALETTE)
    assert (image == before).all() and drawn.dtype == np.uint8
    assert (drawn[150, 100:181] == PALETTE[0]).all() and (drawn[100:151, 180] == PALETTE[0]).all()
    assert (drawn[62:148, 105:170] == image[62:148, 105:170]).all()  # inside
    left, top, right, bottom = differs(drawn, image)
    assert (left, right, bottom) == (99, 181, 151) and 40 < top < 59  # an edge, and a label above
    assert (drawn[top + 1, 100:106] == PALETTE[0]).all()


def test_unsure_boxes_are_left_out():
    image = noise(200, 300)
    objects = boxes((20, 60, 80, 90), (150, 60, 250, 90), labels=[0, 1], scores=[0.29, 0.31])
    drawn = draw_boxes(image, objects, 'abc', PALETTE)
    assert differs(drawn, image)[0] == 149
    assert differs(draw_boxes(image, objects, 'abc', PALETTE, 0.4), image) is None
    assert differs(draw_boxes(image, objects, 'abc', PALETTE, 0), image)[0] == 19


def test_the_surest_box_is_on_top():
    box = (20, 60, 150, 150)
    for scores, top in (([0.9, 0.8], 0), ([0.8, 0.9], 1)):
        objects = boxes(box, box, labels=[0, 1], scores=scores)
        assert (
            draw_boxes(noise(200, 300), objects, 'ab', PALETTE)[150, 20:151] == PALETTE[top]
        ).all()


@pytest.mark.parametrize('box', [(-5, -5, 40, 30), (280, 2, 310, 210), (0, 0, 0, 0)])
def test_labels_stay_in_the_image(box):
    image = np.zeros((200, 300, 3), np.uint8)
    drawn = draw_boxes(image, boxes(box, labels=[2], scores=[1]), ['motorbike'] * 3, PALETTE)
    assert (drawn == PALETTE[2]).all(-1).any(0).sum() > 60  # wider than what is seen of the box


def test_a_label_is_readable_on_its_colour():
    image = np.full((100, 100, 3), 90, np.uint8)
    for colour, text in (((0, 0, 60), 255), ((250, 250, 0), 0)):
        drawn = draw_boxes(image, boxes((10, 40, 90, 90), labels=[0]), ['car'], [colour])
        assert abs(drawn[25:39, 12:40].astype(int) - text).max(-1).min() < 60


def test_nothing_is_drawn_of_nothing():
    image = noise(20, 30)
    for scores in (None, []):
        assert (draw_boxes(image, boxes(labels=[], scores=scores), 'abc', PALETTE) == image).all()
