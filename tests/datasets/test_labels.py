import numpy as np
import pytest
from raw_data import TABLES

from soma.datasets.labels import (
    CITYSCAPES_TO_TRAIN,
    MAPILLARY_TO_TRAIN,
    SYNTHIA_TO_TRAIN,
    TRAIN_TO_TRAIN,
    UNKNOWN,
    URBANSYN_TO_TRAIN,
    to_train_ids,
)


def test_mapillary_table():
    assert MAPILLARY_TO_TRAIN[:66].tolist() == [*TABLES['mapillary'].values()]
    assert (MAPILLARY_TO_TRAIN[66:] == UNKNOWN).all()


def test_cityscapes_table():
    valid = CITYSCAPES_TO_TRAIN[CITYSCAPES_TO_TRAIN < 19]
    assert sorted(valid.tolist()) == list(range(19))
    assert CITYSCAPES_TO_TRAIN[[7, 8, 23, 26, 33]].tolist() == [0, 1, 10, 13, 18]
    assert CITYSCAPES_TO_TRAIN[[0, 1, 29, 30, 34]].tolist() == [255] * 5
    assert CITYSCAPES_TO_TRAIN[:35].tolist() == [*TABLES['gta'].values()]


def test_synthia_table():
    pairs = (
        '3:0 4:1 2:2 21:3 5:4 7:5 15:6 9:7 6:8 16:9 1:10 10:11 17:12 8:13 18:14 19:15 20:16 12:17 '
        '11:18'
    )
    pairs = dict(map(int, pair.split(':')) for pair in pairs.split())
    assert SYNTHIA_TO_TRAIN[:23].tolist() == [pairs.get(value, 255) for value in range(23)]
    assert SYNTHIA_TO_TRAIN[:23].tolist() == [*TABLES['synthia'].values()]
    assert (SYNTHIA_TO_TRAIN[23:] == UNKNOWN).all()


def test_tables_of_train_ids():
    assert TRAIN_TO_TRAIN[:19].tolist() == list(range(19)) == URBANSYN_TO_TRAIN[:19].tolist()
    assert TRAIN_TO_TRAIN[19] == UNKNOWN and URBANSYN_TO_TRAIN[19] == 255
    assert TRAIN_TO_TRAIN[255] == URBANSYN_TO_TRAIN[255] == 255


def test_to_train_ids():
    raw = np.array([[7, 0], [33, 26]], np.uint8)
    assert to_train_ids(raw, CITYSCAPES_TO_TRAIN).tolist() == [[0, 255], [18, 13]]
    with pytest.raises(ValueError, match='holds 40, which the dataset does not define'):
        to_train_ids(np.array([[40]]), CITYSCAPES_TO_TRAIN)
    with pytest.raises(ValueError, match='-1'):
        to_train_ids(np.array([[-1]]), CITYSCAPES_TO_TRAIN)
    with pytest.raises(ValueError, match='one channel'):
        to_train_ids(np.zeros((2, 2, 3), np.uint8), CITYSCAPES_TO_TRAIN)
