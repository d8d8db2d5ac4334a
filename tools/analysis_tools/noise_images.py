"""Images to measure with, where there is no data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.registry import DATASETS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset


@DATASETS.register_module()
class SyntheticDataset(Dataset):
    """Images of noise in memory, with labels in a grid of 4 x 4 rectangles.

    Args:
        size: Width and height.
        num_classes: Number of classes, of which an image has 16 at most.
        length: Number of images.
    """

    def __init__(self, size: Sequence[int], num_classes: int, length: int = 8) -> None:
        width, height = size
        generator = torch.Generator().manual_seed(0)
        shape = (length, 3, height, width)
        self.images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        cells = torch.randint(0, num_classes, (length, 4, 4), generator=generator)
        rows, columns = torch.arange(height) * 4 // height, torch.arange(width) * 4 // width
        self.labels = cells[:, rows][:, :, columns]
        self.metainfo = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        image, labels = self.images[index], self.labels[index]
        shape = tuple(image.shape[1:])
        meta = dict.fromkeys(('ori_shape', 'img_shape'), shape)
        sample = SegDataSample(metainfo={**meta, 'img_path': f'synthetic {index}', 'flip': False})
        sample.gt_sem_seg = PixelData(data=labels[None])
        return {'inputs': image, 'data_samples': sample}
