"""Tables from the raw label values of datasets to the 19 Cityscapes train ids, 255 for the rest."""

from __future__ import annotations

import numpy as np

CLASSES = 19
IGNORE = 255
UNKNOWN = 254  # in a table: a value that the dataset does not have

# The classes of Diverse Weather's boxes.
BOX_CLASSES = ('bus', 'bike', 'car', 'motor', 'person', 'rider', 'truck')


def _table(train_ids: dict[int, int], ignored: range | list[int]) -> np.ndarray:
    """Returns a read-only table (256,) uint8; what is in neither argument is UNKNOWN."""
    table = np.full(256, UNKNOWN, np.uint8)
    table[list(ignored)] = IGNORE
    table[list(train_ids)] = list(train_ids.values())
    table.flags.writeable = False
    return table


# The Cityscapes id of each train id, as the test servers want predictions.
TRAIN_TO_CITYSCAPES = np.array(
    [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8
)

# cityscapesScripts, helpers/labels.py: ids 0 to 33. GTA V uses the same ids, and 34 for licence
# plates, which Cityscapes does not store.
CITYSCAPES_TO_TRAIN = _table(
    {int(cityscapes): train for train, cityscapes in enumerate(TRAIN_TO_CITYSCAPES)}, range(35)
)

# SYNTHIA RAND_CITYSCAPES, its README: ids 0 to 22.
SYNTHIA_TO_TRAIN = _table(
    {
        1: 10, 2: 2, 3: 0, 4: 1, 5: 4, 6: 8, 7: 5, 8: 13, 9: 7, 10: 11, 11: 18, 12: 17, 15: 6,
        16: 9, 17: 12, 18: 14, 19: 15, 20: 16, 21: 3,
    },
    range(23),
)  # fmt: skip

# Mapillary Vistas v1.2, config.json: indices 0 to 65; classes matched to Cityscapes' as in Rein
# (arXiv 2312.04265).
MAPILLARY_TO_TRAIN = _table(
    {
        2: 1, 3: 4, 6: 3, 7: 0, 8: 0, 9: 1, 10: 0, 11: 1, 13: 0, 14: 0, 15: 1, 17: 2, 19: 11,
        20: 12, 21: 12, 22: 12, 23: 0, 24: 0, 27: 10, 29: 9, 30: 8, 44: 5, 45: 5, 46: 7, 47: 5,
        48: 6, 49: 7, 50: 7, 52: 18, 54: 15, 55: 13, 57: 17, 58: 16, 61: 14,
    },
    range(66),
)  # fmt: skip

# India Driving Dataset, helpers/anue_labels.py of its tools: the names of ids 0 to 39 and their
# csTrainId. Autorickshaws are no class of Cityscapes; ground that is not drivable is terrain.
IDD_CLASSES = (
    'road', 'parking', 'drivable fallback', 'sidewalk', 'rail track', 'non-drivable fallback',
    'person', 'animal', 'rider', 'motorcycle', 'bicycle', 'autorickshaw', 'car', 'truck', 'bus',
    'caravan', 'trailer', 'train', 'vehicle fallback', 'curb', 'wall', 'fence', 'guard rail',
    'billboard', 'traffic sign', 'traffic light', 'pole', 'polegroup', 'obs-str-bar-fallback',
    'building', 'bridge', 'tunnel', 'vegetation', 'sky', 'fallback background', 'unlabeled',
    'ego vehicle', 'rectification border', 'out of roi', 'license plate',
)  # fmt: skip
IDD_TO_TRAIN = _table(
    {
        0: 0, 3: 1, 5: 9, 6: 11, 8: 12, 9: 17, 10: 18, 12: 13, 13: 14, 14: 15, 17: 16, 20: 3, 21: 4,
        24: 7, 25: 6, 26: 5, 29: 2, 32: 8, 33: 10,
    },
    range(40),
)  # fmt: skip

# CamVid with the 12 labels of SegNet: the last is void.
CAMVID_TO_TRAIN = _table(
    {0: 10, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 13, 9: 11, 10: 12}, range(12)
)

# BDD100K, ACDC and other sets of adverse conditions have train ids; UrbanSyn
# too, and 19 for what is not labelled.
TRAIN_TO_TRAIN = _table({train: train for train in range(CLASSES)}, [IGNORE])
URBANSYN_TO_TRAIN = _table({train: train for train in range(CLASSES)}, [CLASSES, IGNORE])


def to_train_ids(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Translates raw label values.

    Args:
        labels: Raw values (H, W), integers.
        table: Train id of each raw value (256,).

    Returns:
        Train ids (H, W) uint8.

    Raises:
        ValueError: A value has no place in the table.
    """
    if labels.ndim != 2:
        raise ValueError(f'labels must have one channel, got an array of shape {labels.shape}')
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < len(table):
        train_ids = table[labels]
        unknown = np.unique(labels[train_ids == UNKNOWN])
        if not unknown.size:
            return train_ids
    else:
        unknown = np.array([low if low < 0 else high])
    values = ', '.join(map(str, unknown[:5]))
    raise ValueError(f'holds {values}, which the dataset does not define')


def count_classes(histogram: np.ndarray) -> np.ndarray:
    """Pixels of each class, then of what is not labelled (20,), from those of each value (256,)."""
    return histogram[[*range(CLASSES), IGNORE]]
