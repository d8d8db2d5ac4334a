"""Images with masks of eight classes in four folds of two, and episodes of them."""

import numpy as np
from PIL import Image

from soma.datasets.lists import write_names


def _labels():
    """Ten label maps: of classes 1 and 2 in images 0 to 5, of the others in 3 to 9."""
    maps = np.zeros((10, 30, 40), np.uint8)
    maps[:4, :10, :10] = 1
    maps[2:6, 12:22, :10] = 2
    for label in range(3, 9):
        maps[3:, 24:30, 6 * (label - 3) : 6 * (label - 3) + 5] = label
    maps[9, 0, :19] = 1
    maps[:, 23] = 255
    return maps


MASKS = _labels()


def write_masks(root):
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (root / folder).mkdir()
    colours = rng.integers(0, 200, (256, 3))
    for index, labels in enumerate(MASKS):
        noise = rng.integers(0, 55, (*labels.shape, 3))
        image = (colours[labels] + noise).astype(np.uint8)
        Image.fromarray(image).save(root / f'images/{index}.png')
        mask = Image.fromarray(labels)
        if index % 2:
            mask.putpalette(colours.astype(np.uint8).tobytes())  # as VOC's own
        mask.save(root / f'masks/{index}.png')
    write_names(root / 'all.txt', [str(index) for index in range(len(MASKS))])
    return root


def episode_data(root, support_size=None, **options):
    """The config of episodes of fold 0."""
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    resize = [dict(type='Resize', scale=support_size)] if support_size else []
    return {
        **dict(type='EpisodeDataset', fold=0, split='novel', min_pixels=20, episodes=5),
        'dataset': dict(
            type='DomainDataset',
            domain='blocks',
            data_root=str(root),
            ann_file='all.txt',
            data_prefix=dict(img_path='images', seg_map_path='masks'),
            img_suffix='.png',
            seg_map_suffix='.png',
            metainfo=dict(classes=['background', *(f'c{label}' for label in range(1, 9))]),
            serialize_data=False,
            pipeline=[*load, dict(type='PackDomainInputs')],
        ),
        'support_pipeline': [*load, *resize, dict(type='PackDomainInputs')],
        **options,
    }
