"""From toy streets on disk through the converters back to the ground truth."""

from zlib import crc32

import numpy as np
import pytest
from dataset_files import read_labels

from toy_streets import DOMAIN_STYLES, render, sample_scene

SEED, SIZE = 5, (96, 64)  # of the streets that all tests share


def ground_truth(domain, split, index):
    """The labels that a sample was written with."""
    rng = np.random.default_rng(
        [SEED, crc32(domain.encode()), ('train', 'val').index(split), index]
    )
    scene = sample_scene(rng)
    size = tuple(2 * n for n in SIZE) if domain == 'mapillary' else SIZE
    return render(scene, DOMAIN_STYLES[domain](rng), size, rng).labels


ACDC = [
    (f'acdc/gt/{name}/val/{name.upper()}0000/{name.upper()}0000_frame_000001_gt_labelTrainIds.png',
     name, 'val', 0)
    for name in ('fog', 'night', 'rain', 'snow')
]  # fmt: skip


@pytest.mark.parametrize(
    ('path', 'domain', 'split', 'index'),
    [
        ('gta/labels/00002_labelTrainIds.png', 'gta', 'train', 1),
        ('synthia/GT/LABELS/0000001_labelTrainIds.png', 'synthia', 'train', 1),
        ('urbansyn/ss/rgb_0002_labelTrainIds.png', 'urbansyn', 'train', 1),
        (
            'cityscapes/gtFine/val/seeheim/seeheim_000000_000019_gtFine_labelTrainIds.png',
            'cityscapes',
            'val',
            0,
        ),
        ('bdd100k/labels/sem_seg/masks/val/toyval-00000.png', 'bdd100k', 'val', 0),
        ('mapillary/cityscapes_trainIdLabel/val/label/toy_00000.png', 'mapillary', 'val', 0),
        *ACDC,
    ],
)
def test_ground_truth_comes_back(toy, path, domain, split, index):
    assert np.array_equal(read_labels(toy / 'data/toy' / path), ground_truth(domain, split, index))


def test_labels_of_the_servers_are_not_there(toy):
    assert len(list(toy.glob('data/toy/acdc/rgb_anon/*/test/*/*.png'))) == 4
    assert not list(toy.glob('data/toy/acdc/gt/*/test'))
