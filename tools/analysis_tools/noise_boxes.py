"""Images with boxes to measure detectors with, where there is no data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.structures import DetDataSample
from mmengine.registry import DATASETS
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

_BOXES = 8


@DATASETS.register_module()
class SyntheticBoxDataset(Dataset):
    """Images of noise in memory, each with 8 boxes of random classes.

    The sides of a box are a tenth to a half of the image's.

    Args:
        size: Width and height.
        num_classes: Number of classes.
        length: Number of images.
    """

    def __init__(self, size: Sequence[int], num_classes: int, length: int = 8) -> None:
        width, height = size
        generator = torch.Generator().manual_seed(0)
        shape = (length, 3, height, width)
        self.images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(0, num_classes, (length, _BOXES), generator=generator)
        sides = 0.1 + 0.4 * torch.rand(length, _BOXES, 2, generator=generator)
        corners = (1 - sides) * torch.rand(length, _BOXES, 2, generator=generator)
        scale = torch.tensor([width, height] * 2)
        self.boxes = torch.cat([corners, corners + sides], -1) * scale
        self.metainfo = {}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        image = self.images[index]
        meta = dict.fromkeys(('ori_shape', 'img_shape'), tuple(image.shape[1:]))
        meta |= dict(img_id=index, img_path=f'synthetic {index}', scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=self.boxes[index], labels=self.labels[index])
        sample.ignored_instances = sample.gt_instances[:0]
        return {'inputs': image, 'data_samples': sample}
