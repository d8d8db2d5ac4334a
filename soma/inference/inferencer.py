"""A trained model, ready to segment images or to find objects in them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.structures import BaseDataElement, InstanceData
from mmseg.models.segmentors import BaseSegmentor

from ..checkpoints.open import load_plain, open_checkpoint
from ..evaluation.prepare import use_tta
from ..io.files import InputError
from ..io.hub import find_adapter
from ..io.public import local_file
from ..models.build import build_model, plain_model, use_plain_model
from ..models.segmentors.prototype import PrototypeSegmentor
from ..utils.colours import colours_of
from ..utils.config import load_config, resolve_paths
from ..utils.config_text import only_registered, shared_config
from .images import AnyImage, is_image, to_bgr
from .pipeline import test_classes, test_steps
from .prediction import Prediction, confidence_maps
from .stream import Prepared, predict_each


class Inferencer:
    """Segments images, or finds objects in them, with the pipeline that a config tests with.

    That is its ``test_pipeline``, or without one that of the first dataset of ``test_dataloader``.

    Args:
        config: File or config, of a segmentor or a detector.
        checkpoint: Training checkpoint, adapter file or merged file, or a folder or the name of a
            model on the Hugging Face Hub (:func:`~soma.io.hub.find_adapter`); adapters are folded
            in.
        device: Where to run; the first GPU, or the CPU without one, if None.
        base: File of the pretrained weights of an adapter; if None, that of the config's
            ``init_cfg``, or the one that the checkpoint names.
        force: Accept other pretrained weights than those that the adapter was trained on.
        amp: Compute in bfloat16 where that is exact enough.
        compile: Compile the backbone, which takes its time at the first image of each size.
        tta: Average over the views of the config's ``tta_pipeline``.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointError: If the checkpoint is not this config's.
        InputError: If there is no such device, or the config lacks the pipeline, the views, or the
            classes that the checkpoint does not have either, or the model needs more than an image.

    Attributes:
        model: The network, whose adapter is folded in.
        config: That of the plain model.
        checkpoint, base, device, amp, tta: As given, or found.
        detects: Whether it finds objects, and does not segment.
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
        *,
        amp: bool = False,
        compile: bool = False,
        tta: bool = False,
    ) -> None:
        self.device, self.amp, self.tta = find_device(device), amp, tta
        config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config)
        checkpoint = find_adapter(checkpoint)
        self.config, self.checkpoint, self.base = config, _file(checkpoint), base and _file(base)
        left_out = use_plain_model(config)
        if tta:
            use_tta(config)
        load, *steps = test_steps(config)
        model = build_model(config)
        plain = plain_model(model)
        if isinstance(plain, PrototypeSegmentor):
            raise InputError(
                'a few-shot model segments by support images, and not an image alone: test it on '
                'episodes with tools/test.py'
            )
        self.detects = not isinstance(plain, BaseSegmentor)
        card = load_plain(model, checkpoint, base, force, left_out)
        if compile:
            getattr(plain, 'backbone', plain).compile()
        self.model = model.to(self.device)
        self._pipeline = Compose([dict(load, type='LoadImageFromNDArray'), *steps])
        meta = vars(card) if card.classes else test_classes(config)
        self.classes, self.palette = meta['classes'], colours_of(meta)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike, revision: str | None = None, **options: Any
    ) -> Inferencer:
        """Make one of a file of weights alone: the config is the one on its card.

        That config is read as data, and builds registered classes only: a file cannot run code.

        Args:
            path: As ``checkpoint`` of the class.
            revision: Branch, tag or commit of a model on the hub.
            **options: As for the class.

        Raises:
            FileNotFoundError: If there is no such file.
            InputError: As for the class; if the file tells of no config or of one that could do
                more than predict, or cannot be fetched.
        """
        file = find_adapter(path, revision)
        text = open_checkpoint(file).card.config
        if text is None:
            raise InputError(
                f'{file} does not tell its config: name one, Inferencer(config, checkpoint)'
            )
        config = shared_config(text, str(file))
        resolve_paths(config)
        try:
            with only_registered():
                return cls(config, file, **options)
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f'{file}: its config cannot be used: {error}') from error

    def predict(
        self,
        images: AnyImage | Iterable[AnyImage],
        batch_size: int = 1,
        confidence: bool = False,
    ) -> Prediction | list[Prediction]:
        """Predict for images.

        Args:
            images: One, or several: files, arrays ``(h, w, 3)`` in BGR order as OpenCV reads them,
                images of Pillow, tensors ``(3, h, w)`` in RGB order.
            batch_size: How many go through the model at once where they follow each other, have
                one size and at most 16 million pixels together.
            confidence: Whether a segmentor says how sure it is of each pixel.

        Returns:
            A prediction, or a list of one an image.

        Raises:
            InputError: If something is no image.
        """
        if is_image(images):
            return next(self.stream([images], 1, confidence))
        return list(self.stream(images, batch_size, confidence))

    def stream(
        self,
        images: Iterable[AnyImage],
        batch_size: int = 1,
        confidence: bool = False,
        workers: int = 0,
    ) -> Iterator[Prediction]:
        """Yield predictions one by one, in bounded memory.

        Args:
            images: As for :meth:`predict`.
            batch_size: As there.
            confidence: As there.
            workers: Threads that read images while the model works; 0 for none.

        Raises:
            InputError: If something is no image, or the model cannot take it.
        """
        for outcome in predict_each(self, images, batch_size, confidence, workers):
            if isinstance(outcome, InputError):
                raise outcome
            yield outcome

    def prepare(self, image: AnyImage) -> Prepared:
        """Read an image and put it through the pipeline.

        Raises:
            InputError: If it is none.
        """
        array = to_bgr(image)
        return Prepared(array, self._pipeline({'img': array}))

    def run(self, batch: Sequence[Prepared], confidence: bool = False) -> list[Prediction]:
        """Predict for images of one size at once."""
        predictions, meaning = [], (self.classes, self.palette)
        results = self._test([sample for _, sample, _ in batch])
        for (array, *_), sample in zip(batch, results, strict=True):
            image, result = array[..., ::-1], result_of(sample)
            if isinstance(result, InstanceData):
                parts = (result.labels, result.scores, *meaning, result.bboxes)
                predictions.append(Prediction(image, *parts))
                continue
            scores = entropy = None
            if confidence:
                scores, entropy = confidence_maps(self.model, sample.seg_logits.data)
            predictions.append(Prediction(image, result, scores, *meaning, entropy=entropy))
        return predictions

    def _test(self, samples: Sequence[dict]) -> list[BaseDataElement]:
        low = torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp)
        with torch.no_grad(), low:
            return self.model.test_step(pseudo_collate(samples))

    def __call__(self, image: AnyImage) -> np.ndarray | InstanceData:
        """Segment an image, or find the objects in it.

        Args:
            image: As for :meth:`predict`.

        Returns:
            Of a segmentor the class of each pixel, shape ``(h, w)``, uint8 (uint16 where a class
            needs it). Of a detector
            ``bboxes`` (left, top, right and bottom in pixels of the image, shape ``(n, 4)``),
            ``labels`` and ``scores`` (shape ``(n,)``) as arrays.
        """
        return result_of(self._test([self.prepare(image).sample])[0])


def _file(path: str | os.PathLike) -> Path:
    """The file that a path or the name of public weights means."""
    return Path(local_file(path)).expanduser()


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
