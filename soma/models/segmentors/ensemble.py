"""Several segmentors that predict together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ...io.files import InputError
from ..probabilities import class_probabilities, shares

OPERATIONS = ('add', 'mul', 'logits', 'mul-input')


@MODELS.register_module()
class SegmentorEnsemble(BaseModel):
    """Segmentors whose predictions become one, for testing only (ReVT, arXiv 2308.13331).

    They segment one batch after the other, each in its own mode (whole images or sliding windows),
    and what becomes one are the scores of an image in its full size. So one model alone predicts
    what it predicts without an ensemble, and memory does not grow with the number of images.

    Args:
        models: Their configs.
        operation: ``'add'`` is the mean of the softmaxes, ``'mul'`` their product, and
            ``'logits'`` the mean of the scores before the softmax, which ReVT's script calls add.
            The last two choose the same classes. ``'mul-input'`` is what that script calls mul: the
            product of each window, in the first model's mode, at the size of the model's input;
            windows are averaged and resized after that.
        data_preprocessor: Config of it, which mmengine's runner takes from the top of a config that
            has one there; the first model's if None.

    Raises:
        InputError: If the operation is unknown, or a model is no segmentor of two classes or more.
    """

    def __init__(
        self,
        models: Sequence[Mapping],
        operation: str = 'add',
        data_preprocessor: Mapping | None = None,
    ) -> None:
        if operation not in OPERATIONS:
            raise InputError(f'operation must be one of {OPERATIONS}, got {operation!r}')
        members = [MODELS.build(model) for model in models]
        for member in members:
            if not isinstance(member, BaseSegmentor) or getattr(member, 'out_channels', 0) < 2:
                name = type(member).__name__
                raise InputError(f'an ensemble is of segmentors with softmaxes, not of {name}')
        super().__init__(data_preprocessor=data_preprocessor or members[0].data_preprocessor)
        self.members = nn.ModuleList(members)
        self.operation = operation
        self.out_channels = members[0].out_channels  # for test-time augmentation

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'predict',
    ) -> list[SegDataSample]:
        """Segment images.

        Args:
            inputs: Shape ``(n, 3, H, W)``, normalised.
            data_samples: One for each image.
            mode: ``'predict'``.

        Returns:
            The samples with ``pred_sem_seg``, shape ``(1, *ori_shape)``, and ``seg_logits``, shape
            ``(classes, *ori_shape)``: their softmax is that of the ensemble, or for
            ``'mul-input'``, as in ReVT, the products themselves.

        Raises:
            NotImplementedError: If the mode is another.
        """
        if mode != 'predict':
            raise NotImplementedError(f'an ensemble only predicts: it has no mode {mode!r}')
        if self.operation == 'mul-input':
            combined = copy.copy(self.members[0])  # with the same layers
            combined.encode_decode = self._multiply
            return combined(inputs, data_samples, mode='predict')
        totals = None
        for member in self.members:
            samples = member(inputs, data_samples, mode='predict')
            scores = [self._term(sample.seg_logits.data) for sample in samples]
            totals = scores if totals is None else [*map(torch.add, totals, scores)]
        for total, sample in zip(totals, samples, strict=True):
            if self.operation != 'mul':
                total /= len(self.members)
            labels = total.max(0, keepdim=True).indices  # on a CPU faster than argmax
            total = total.log() if self.operation == 'add' else total
            sample.set_data(
                dict(seg_logits=PixelData(data=total), pred_sem_seg=PixelData(data=labels))
            )
        return samples

    def probabilities(self, scores: Tensor) -> Tensor:
        """What ``seg_logits``, shape ``(..., classes, h, w)``, says of each class."""
        if self.operation == 'mul-input':
            return shares(scores)
        if self.operation == 'logits':
            return class_probabilities(self.members[0], scores)
        return scores.softmax(-3)

    def _multiply(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """The product of the members' softmaxes of windows, shape ``(n, classes, h, w)``."""
        parts = (m.encode_decode(inputs, batch_img_metas).softmax(1) for m in self.members)
        return reduce(torch.mul, parts)

    def _term(self, logits: Tensor) -> Tensor:
        """What is added up of a member's scores ``(classes, h, w)``, in a tensor of its own."""
        if self.operation == 'logits':
            return logits.clone()
        return logits.softmax(0) if self.operation == 'add' else logits.log_softmax(0)
