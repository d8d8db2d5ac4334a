"""A segmentor that tests sliding windows in batches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from ...adapters.base import Adapter
from ...io.files import InputError

_FLIPS = {'horizontal': (2,), 'vertical': (1,), 'diagonal': (1, 2)}  # of (classes, h, w)


@MODELS.register_module()
class WindowEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` with sliding windows that are fast and need little memory.

    Windows lie where mmseg's do and their scores are averaged as there. But ``batch_windows`` of
    them, from all images of the batch, go through the model together, and their scores are added
    up in place.

    Args:
        *args: As for mmseg's ``EncoderDecoder``.
        **kwargs: As there; ``test_cfg`` may have ``batch_windows``, the number of windows that the
            model takes at once in the mode ``'slide'``, 4 by default. More need more memory.

    Raises:
        ValueError: If ``batch_windows`` is no positive whole number, or the backbone makes queries
            without a head that uses them, or the other way round.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _batch_windows(self.test_cfg or {})  # now, not after hours of training
        self._check_link()

    def _check_link(self) -> None:
        """Check that the backbone's adapter makes queries if, and only if, the head uses them."""
        link = any(m.link for m in self.backbone.modules() if isinstance(m, Adapter))
        wants = getattr(self.decode_head, 'wants_queries', False)
        others = [name for name in ('neck', 'auxiliary_head') if getattr(self, f'with_{name}')]
        if link and (others or not wants):
            reader = ' and '.join(others) or type(self.decode_head).__name__
            raise ValueError(
                f'the queries that the backbone makes (link=True of its adapter) are for '
                f'ReinMask2FormerHead alone, not for a model with {reader}: leave link out of the '
                "adapter, or take decode_head=dict(type='ReinMask2FormerHead')"
            )
        if wants and not link:
            raise ValueError(self.decode_head.queries_hint())

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Segment images window by window.

        Args:
            inputs: Shape ``(n, 3, H, W)``, normalised. A side shorter than the crop is one window.
            batch_img_metas: Meta information of each image, left as it is.

        Returns:
            Mean scores of the windows at each pixel, shape ``(n, classes, H, W)``.

        Raises:
            ValueError: If the stride leaves gaps, or ``batch_windows`` is no positive whole number.
        """
        sides = inputs.shape[2:]
        crop, stride = self.test_cfg['crop_size'], self.test_cfg['stride']
        height, width = size = torch.Size(map(min, sides, crop))
        starts = [_window_starts(*lengths) for lengths in zip(sides, crop, stride, strict=True)]
        rows, columns = (_coverage(*lengths) for lengths in zip(starts, size, sides, strict=True))
        if 0 in rows or 0 in columns:
            raise InputError(
                f'test_cfg.stride {tuple(stride)} leaves gaps between windows of '
                f'test_cfg.crop_size {tuple(crop)}: make it no larger'
            )
        # what heads take the size of their output from
        shapes = dict(img_shape=size, pad_shape=size, batch_input_shape=size)
        scores = inputs.new_zeros(len(inputs), self.out_channels, *sides)
        places = list(itertools.product(range(len(inputs)), *starts))
        step = _batch_windows(self.test_cfg)
        for first in range(0, len(places), step):
            batch = places[first : first + step]
            windows = torch.stack(
                [inputs[i, :, y : y + height, x : x + width] for i, y, x in batch]
            )
            metas = [{**batch_img_metas[i], **shapes} for i, _, _ in batch]
            for (i, y, x), part in zip(batch, self.encode_decode(windows, metas), strict=True):
                scores[i, :, y : y + height, x : x + width] += part
        scores /= torch.outer(rows, columns).to(scores)
        return scores

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Undo padding, flip and resizing, and choose the class of each pixel.

        Args:
            seg_logits: Shape ``(n, classes, H, W)``.
            data_samples: One for each image; new ones if None.

        Returns:
            The samples with ``seg_logits``, shape ``(classes, *ori_shape)``, and ``pred_sem_seg``,
            shape ``(1, *ori_shape)``.
        """
        if seg_logits.shape[1] == 1:  # a threshold instead of the largest score
            return super().postprocess_result(seg_logits, data_samples)
        if data_samples is None:
            data_samples = [SegDataSample() for _ in seg_logits]
        for scores, sample in zip(seg_logits, data_samples, strict=True):
            meta = sample.metainfo
            padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
            left, right, top, bottom = padding
            height, width = scores.shape[1:]
            scores = scores[:, top : height - bottom, left : width - right]
            if meta.get('flip'):
                scores = scores.flip(_FLIPS[meta['flip_direction']])
            size = tuple(meta.get('ori_shape', scores.shape[1:]))
            if scores.shape[1:] != size:  # a copy of all scores otherwise
                scores = F.interpolate(
                    scores[None], size=size, mode='bilinear', align_corners=self.align_corners
                )[0]
            labels = scores.max(0, keepdim=True).indices  # on a CPU faster than argmax
            sample.set_data(
                dict(seg_logits=PixelData(data=scores), pred_sem_seg=PixelData(data=labels))
            )
        return data_samples


def _batch_windows(test_cfg: dict) -> int:
    number = test_cfg.get('batch_windows', 4)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f'test_cfg.batch_windows must be a positive whole number, got {number!r}')
    return number


def _window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one side; the last window ends where the image does."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(index * stride, length - crop), 0) for index in range(count)]


def _coverage(starts: Sequence[int], window: int, length: int) -> Tensor:
    """Number of windows over each pixel of one side, shape ``(length,)``."""
    counts = torch.zeros(length)
    for start in starts:
        counts[start : start + window] += 1
    return counts
