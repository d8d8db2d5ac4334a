import numpy as np
import pytest

from soma.datasets.labels import (
    CITYSCAPES_TO_TRAIN,
    MAPILLARY_TO_TRAIN,
    to_train_ids,
)

MAPILLARY = (
    '255 255 1 4 255 255 3 0 0 1 0 1 255 0 0 1 255 2 255 11 12 12 12 0 0 255 255 10 255 9 8 255 '
    '255 255 255 255 255 255 255 255 255 255 255 255 5 5 7 5 6 7 7 255 18 255 15 13 255 17 16 255 '
    '255 14 255 255 255 255'
)


def test_mapillary_table():
    assert MAPILLARY_TO_TRAIN.tolist() == [int(value) for value in MAPILLARY.split()]


def test_cityscapes_table():
    valid = CITYSCAPES_TO_TRAIN[CITYSCAPES_TO_TRAIN != 255]
    assert sorted(valid.tolist()) == list(range(19))
    assert CITYSCAPES_TO_TRAIN[[7, 8, 23, 26, 33]].tolist() == [0, 1, 10, 13, 18]
    assert CITYSCAPES_TO_TRAIN[[0, 1, 29, 30, 34]].tolist() == [255] * 5


def test_to_train_ids():
    raw = np.array([[7, 0], [33, 26]], np.uint8)
    assert to_train_ids(raw, CITYSCAPES_TO_TRAIN).tolist() == [[0, 255], [18, 13]]
    with pytest.raises(ValueError, match='label value 40 is outside the table, 0 to 34'):
        to_train_ids(np.array([[40]]), CITYSCAPES_TO_TRAIN)
    with pytest.raises(ValueError, match='-1'):
        to_train_ids(np.array([[-1]]), CITYSCAPES_TO_TRAIN)
    with pytest.raises(ValueError, match='one channel'):
        to_train_ids(np.zeros((2, 2, 3), np.uint8), CITYSCAPES_TO_TRAIN)
