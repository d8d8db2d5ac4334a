"""A trained model, ready to segment images or to find objects in them."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DATASETS
from mmengine.structures import BaseDataElement, InstanceData

from ..checkpoints.open import load_plain
from ..io.files import InputError
from ..models.build import build_model, use_plain_model
from ..utils.config import each_dataset, load_config
from .drawing import colours_of


class Inferencer:
    """Segments images, or finds objects in them, with the pipeline that a config tests with.

    That is its ``test_pipeline``, or without one that of the first dataset of ``test_dataloader``.

    Args:
        config: File or config, of a segmentor or a detector.
        checkpoint: Training checkpoint, adapter file or merged file; adapters are folded in.
        device: Where to run; the first GPU, or the CPU without one, if None.
        base: File of the pretrained weights of an adapter; the one of the config's ``init_cfg``
            if None.
        force: Accept other pretrained weights than those that the adapter was trained on.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If the checkpoint is not this config's.
        InputError: If there is no such device, or the config lacks the pipeline, or the classes
            that the checkpoint does not have either.

    Attributes:
        classes: Names of the classes.
        palette: RGB colour of each class.
    """

    def __init__(
        self,
        config: str | os.PathLike | Config,
        checkpoint: str | os.PathLike,
        device: str | None = None,
        base: str | os.PathLike | None = None,
        force: bool = False,
    ) -> None:
        device = find_device(device)
        config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
        load, *steps = _test_steps(config)
        left_out = use_plain_model(config)
        model = build_model(config)
        card = load_plain(model, checkpoint, base, force, left_out)
        self.model = model.to(device)
        self._of_files = Compose([load, *steps])
        self._of_arrays = Compose([dict(load, type='LoadImageFromNDArray'), *steps])
        meta = vars(card) if card.classes else _test_classes(config)
        self.classes, self.palette = meta['classes'], colours_of(meta)

    def __call__(self, image: str | np.ndarray) -> np.ndarray | InstanceData:
        """Segment an image, or find the objects in it.

        Args:
            image: File, or array ``(h, w, 3)`` in BGR order as OpenCV reads it.

        Returns:
            Of a segmentor the class of each pixel, shape ``(h, w)``, uint8 (uint16 where a class
            needs it). Of a detector
            ``bboxes`` (left, top, right and bottom in pixels of the image, shape ``(n, 4)``),
            ``labels`` and ``scores`` (shape ``(n,)``) as arrays.
        """
        if isinstance(image, np.ndarray):
            sample = self._of_arrays({'img': image})
        else:
            sample = self._of_files({'img_path': image})
        with torch.no_grad():
            (result,) = self.model.test_step(pseudo_collate([sample]))
        return result_of(result)


def find_device(name: str | None = None) -> torch.device:
    """The device of a name; the first GPU, or the CPU without one, if None.

    Raises:
        InputError: If there is no such device.
    """
    gpus = torch.cuda.device_count()
    try:
        device = torch.device(name or ('cuda:0' if gpus else 'cpu'))
    except RuntimeError as error:
        raise InputError(f'{name!r} is no device: cpu, cuda:0 ...') from error
    if device.type == 'cuda' and (device.index or 0) >= gpus:
        raise InputError(f'there is no device {name!r}: PyTorch finds {gpus} GPUs here')
    return device


def result_of(sample: BaseDataElement, kind: str = 'pred') -> np.ndarray | InstanceData | None:
    """Take what a data sample of mmseg or mmdet holds of an image.

    Args:
        sample: The data sample.
        kind: ``'pred'`` for what was predicted, ``'gt'`` for the ground truth.

    Returns:
        As :class:`Inferencer` returns it; None if there is no such thing.
    """
    if (labels := sample.get(f'{kind}_sem_seg')) is not None:
        labels = labels.data.squeeze(0).cpu().numpy()
        return labels.astype(np.min_scalar_type(int(labels.max())))
    if (objects := sample.get(f'{kind}_instances')) is None:
        return None
    objects = objects.numpy()
    objects.bboxes = getattr(objects.bboxes, 'tensor', objects.bboxes)  # of mmdet's train pipelines
    return objects


def _test_dataset(config: Config) -> Mapping:
    """The first dataset that a config tests on; {} without one."""
    data = (config.get('test_dataloader') or {}).get('dataset')
    return next((dataset for _, dataset in each_dataset(data, '')), {})


def _test_steps(config: Config) -> list[dict]:
    """What loads an image and prepares it for the model."""
    pipeline = config.get('test_pipeline') or _test_dataset(config).get('pipeline') or []
    if not (steps := [step for step in pipeline if not step['type'].endswith('LoadAnnotations')]):
        raise InputError('the config has no test_pipeline, nor a test_dataloader with one: add it')
    return steps


def _test_classes(config: Config) -> dict:
    """The classes and colours of the data that a config tests on, whose files need not be there."""
    if not (dataset := _test_dataset(config)):
        raise InputError('neither the checkpoint nor a test_dataloader names the classes: add one')
    with DATASETS.switch_scope_and_registry(None) as registry:
        return registry.build({**dataset, 'pipeline': [], 'lazy_init': True}).metainfo
