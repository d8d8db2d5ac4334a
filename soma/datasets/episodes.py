"""Episodes of few-shot segmentation: a query image, and support images that show its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DATASETS
from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from torch.utils.data import Dataset

from ..io.files import InputError
from .domain_dataset import DomainDataset
from .label_pixels import label_pixels
from .labels import IGNORE

FOLDS = 4


@DATASETS.register_module()
class PascalMaskDataset(DomainDataset):
    """Images with the 20 classes of Pascal VOC, counted from 1; 0 is the background."""

    METAINFO: ClassVar[dict] = PascalVOCDataset.METAINFO


@DATASETS.register_module()
class CocoMaskDataset(DomainDataset):
    """Images with the 80 classes of COCO, counted from 1; 0 is the background."""

    METAINFO: ClassVar[dict] = {
        'classes': ('background', *COCOStuffDataset.METAINFO['classes'][:80])
    }


def novel_labels(classes: int, fold: int, rule: str) -> list[int]:
    """Labels of the classes that a fold keeps for testing.

    Args:
        classes: Number of classes without the background; their labels count from 1.
        fold: From 0 to 3.
        rule: ``'blocks'``, as PASCAL-5i: fold 0 has the first quarter of the classes.
            ``'strided'``, as COCO-20i: fold 0 has the classes 1, 5, 9 ....

    Raises:
        InputError: If there is no such fold or rule, or there are no four folds of equal size.
    """
    if fold not in range(FOLDS) or isinstance(fold, bool):
        raise InputError(f'fold must be a whole number from 0 to {FOLDS - 1}, got {fold!r}')
    if rule not in ('blocks', 'strided'):
        raise InputError(f"folds must be 'blocks' or 'strided', got {rule!r}")
    if not classes or classes % FOLDS:
        raise InputError(f'{classes} classes beside the background do not make {FOLDS} folds')
    size = classes // FOLDS
    labels = range(1, classes + 1)
    return [*(labels[fold * size : (fold + 1) * size] if rule == 'blocks' else labels[fold::FOLDS])]


@DATASETS.register_module()
class EpisodeDataset(Dataset):
    """Episodes of few-shot segmentation on the classes of a fold (PFENet, arXiv 2008.01449).

    An episode has a class of the split, drawn with equal chances, and ``shots + 1`` different
    images of it: the query and its supports. Its labels are 1 for the class and 0 for all others,
    so that novel classes are background in training. It follows from ``seed`` and its index alone,
    whatever the number of workers and processes and the batch size.

    A sample is that of the query, with ``class_name`` and a ``domain`` of its own in the meta
    information, and ``supports``, a list of samples.

    Args:
        dataset: Config of a :class:`DomainDataset`, whose class 0 is the background. Its pipeline
            is that of queries.
        fold: Which of the four, from 0 to 3.
        split: ``'base'`` for the classes to train on, ``'novel'`` for those to test on.
        folds: How the classes are divided, as for :func:`novel_labels`.
        shots: Number of support images.
        episodes: Number of episodes.
        seed: Seed of the draws.
        min_pixels: What an image must have of a class to be one of its images.
        support_pipeline: That of supports; as for queries if None.

    Raises:
        InputError: If an option is out of range, or a class has too few images.
    """

    def __init__(
        self,
        dataset: Mapping,
        fold: int,
        split: str,
        folds: str = 'blocks',
        shots: int = 1,
        episodes: int = 1000,
        seed: int = 0,
        min_pixels: int = 2 * 32 * 32,
        support_pipeline: Sequence[Mapping] | None = None,
    ) -> None:
        counts = dict(shots=(shots, 1), episodes=(episodes, 1), min_pixels=(min_pixels, 1))
        for name, (value, lowest) in {**counts, 'seed': (seed, 0)}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise InputError(f'{name} must be a whole number of at least {lowest}: {value!r}')
        if split not in ('base', 'novel'):
            raise InputError(f"split must be 'base' or 'novel', got {split!r}")
        images = DATASETS.build(dataset)
        if not isinstance(images, DomainDataset) or not images.data_prefix.get('seg_map_path'):
            raise InputError('dataset must be a DomainDataset with seg_map_path in its data_prefix')
        if not images.reader.is_plain:
            raise InputError('the dataset of episodes needs all of its classes, the background too')
        if images.ignore_index != IGNORE:
            raise InputError(
                f'the dataset of episodes needs ignore_index={IGNORE}, got {images.ignore_index}'
            )
        self.images, self.shots, self.episodes, self.seed = images, shots, episodes, seed
        self.support_pipeline = images.pipeline
        if support_pipeline is not None:
            self.support_pipeline = images.compose(support_pipeline)
        names = images.metainfo['classes']
        novel = novel_labels(len(names) - 1, fold, folds)
        base = [label for label in range(1, len(names)) if label not in novel]
        self.names = {label: names[label] for label in (novel if split == 'novel' else base)}
        self.metainfo = {
            'classes': ('background', 'object'),
            'palette': [(0, 0, 0), (220, 20, 60)],
            'episode_classes': tuple(self.names.values()),
            'episode_split': split,
        }
        self._by_label = self._images_by_label(len(names), min_pixels)

    def _images_by_label(self, classes: int, min_pixels: int) -> dict[int, np.ndarray]:
        """Indices of the images of each class of the split."""
        infos = map(self.images.get_data_info, range(len(self.images)))
        files = [info['seg_map_path'] for info in infos]
        folder = Path(self.images.data_prefix['seg_map_path'])
        name = f'{folder.name}_{Path(self.images.ann_file or "all").stem}_pixels.npz'
        pixels = label_pixels(files, classes, folder.with_name(name))
        images = {label: np.flatnonzero(pixels[:, label] >= min_pixels) for label in self.names}
        for label, indices in images.items():
            if len(indices) <= self.shots:
                raise InputError(
                    f'{len(indices)} of the {len(files)} images with labels in {folder} have '
                    f'min_pixels={min_pixels} pixels of {self.names[label]!r} (label {label}): '
                    f'an episode of shots={self.shots} needs {self.shots + 1}'
                )
        return images

    def __len__(self) -> int:
        return self.episodes

    def draw(self, index: int) -> tuple[int, list[int]]:
        """Draw an episode: the label of its class, and its images, the query first."""
        rng = np.random.default_rng([self.seed, index])
        label = int(rng.choice([*self.names]))
        images = rng.choice(self._by_label[label], self.shots + 1, replace=False)
        return label, images.tolist()

    def get_data_info(self, index: int) -> dict:
        """What is known of the query of an episode, before it is loaded."""
        label, (query, *_) = self.draw(index)
        return self.images.get_data_info(query) | self._meta(index, label)

    def _meta(self, index: int, label: int) -> dict[str, str]:
        name = self.names[label]
        return {'class_name': name, 'domain': f'{index:06d}_{name.replace("/", "_")}'}

    def _load(self, image: int, label: int, pipeline: Compose) -> dict[str, Any]:
        """A sample whose labels are 1 for a class, 0 for others."""
        info = self.images.get_data_info(image)
        sample = self.images.run_pipeline(info.copy(), pipeline)
        if sample is None or 'gt_sem_seg' not in sample['data_samples']:
            raise InputError(
                f'{info["img_path"]}: the pipeline of episodes leaves it, or its labels, out: each '
                'image that is drawn is needed'
            )
        labels = sample['data_samples'].gt_sem_seg
        is_class = (labels.data == label).to(labels.data)
        labels.data = torch.where(labels.data == IGNORE, labels.data, is_class)
        return sample

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load an episode.

        Raises:
            IndexError: If there is no such episode.
            InputError: If one of its files cannot be used.
        """
        if not 0 <= index < self.episodes:
            raise IndexError(f'there are {self.episodes} episodes, from 0, and none is {index}')
        label, (query, *supports) = self.draw(index)
        sample = self._load(query, label, self.images.pipeline)
        sample['data_samples'].set_metainfo(self._meta(index, label))
        shots = [self._load(image, label, self.support_pipeline) for image in supports]
        return {**sample, 'supports': shots}
