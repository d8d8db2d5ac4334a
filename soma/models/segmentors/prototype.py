"""Few-shot segmentation by prototypes (PANet, arXiv 1908.06391)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from ...io.files import InputError

_IGNORE = 255


def masked_average(features: Tensor, mask: Tensor) -> Tensor:
    """Average a feature map over a mask (PANet, equation 1).

    Args:
        features: Shape ``(c, h, w)``.
        mask: Weight of each pixel of the image, shape ``(H, W)``. A position of the map counts by
            its share of the mask, so that a small object is not lost.

    Returns:
        Shape ``(c,)``; zeros for an empty mask.
    """
    weight = F.interpolate(mask[None, None], features.shape[1:], mode='area')[0]
    return (features * weight).sum((1, 2)) / weight.sum().clamp_min(1e-6)


def prototype_scores(query: Tensor, prototypes: Tensor, scale: float) -> Tensor:
    """Compare each position of query maps with the prototypes (PANet, equation 3).

    Args:
        query: Shape ``(n, c, h, w)``.
        prototypes: Shape ``(n, p, c)``.
        scale: What the cosine similarity is multiplied by.

    Returns:
        Scores before softmax, shape ``(n, p, h, w)``, in float32 under autocast too: bfloat16 keeps
        scores of 20 to 0.1.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, prototypes = F.normalize(query, dim=1), F.normalize(prototypes, dim=2)
        return scale * torch.einsum('nchw,npc->nphw', query, prototypes)


@MODELS.register_module()
class EpisodePreProcessor(SegDataPreProcessor):
    """mmseg's, for queries and their supports alike.

    Args:
        test_cfg: None, since mmseg would pad images and not their masks.
        **kwargs: As for mmseg's ``SegDataPreProcessor``.

    Raises:
        InputError: If there is a ``test_cfg``.
    """

    def __init__(self, *, test_cfg: None = None, **kwargs: Any) -> None:
        if test_cfg is not None:
            raise InputError(
                f'EpisodePreProcessor takes no test_cfg, got {test_cfg!r}: give images and labels '
                'their size by Resize in the pipeline'
            )
        super().__init__(**kwargs)

    def forward(self, data: Mapping, training: bool = False) -> dict:
        """Normalise and stack the images of a batch of episodes.

        Args:
            data: ``inputs`` and ``data_samples`` of the queries, and ``supports``: for each shot
                the same of its support images.
            training: Whether the images are padded to ``size``.

        Returns:
            The same, with images of shape ``(n, 3, H, W)``.
        """
        queries, *supports = (
            super(EpisodePreProcessor, self).forward(
                {key: part[key] for key in ('inputs', 'data_samples') if key in part}, training
            )
            for part in (data, *data.get('supports', ()))
        )
        return {**queries, 'supports': supports}


@MODELS.register_module()
class PrototypeSegmentor(BaseSegmentor):
    """Labels a query by its similarity to what support images show; nothing but features trains.

    The prototypes of class and background are the averages of the last feature map over the mask
    and over the rest of each support image, averaged over the shots. Each position of the query
    takes the softmax of its cosine similarities to both.

    Args:
        backbone: Config of the backbone.
        neck: Config of a neck, or None.
        scale: What the similarity is multiplied by; 20 in PANet.
        data_preprocessor: Config of an :class:`EpisodePreProcessor`.
        init_cfg: As for mmengine's modules.
    """

    align_corners = False

    def __init__(
        self,
        backbone: Mapping,
        neck: Mapping | None = None,
        scale: float = 20.0,
        data_preprocessor: Mapping | None = None,
        init_cfg: Mapping | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or scale <= 0:
            raise InputError(f'scale must be a number above 0, got {scale!r}')
        self.backbone = MODELS.build(backbone)
        self.neck = None if neck is None else MODELS.build(neck)
        self.scale = scale

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """The last feature map ``(n, c, h, w)`` of images ``(n, 3, H, W)``, in float32."""
        maps = self.backbone(inputs)
        return (maps if self.neck is None else self.neck(maps))[-1].float()

    def encode_decode(self, inputs: Tensor, supports: Sequence[Mapping]) -> Tensor:
        """Score background and class at each position of the queries' maps.

        Args:
            inputs: The queries, shape ``(n, 3, H, W)``.
            supports: For each shot ``inputs`` and ``data_samples`` of n support images.

        Returns:
            Shape ``(n, 2, h, w)``.

        Raises:
            InputError: If there are no supports.
        """
        if not supports:
            raise InputError(
                'a query has no support images: few-shot models see episodes (EpisodeDataset, '
                'tools/test.py), no single images'
            )
        prototypes = []
        for features, sample in zip(
            self.extract_feat(torch.cat([shot['inputs'] for shot in supports])),
            [sample for shot in supports for sample in shot['data_samples']],
            strict=True,
        ):
            labels = sample.gt_sem_seg.data[0]
            masks = ((labels == label).to(features) for label in (0, 1))
            prototypes.append(torch.stack([masked_average(features, mask) for mask in masks]))
        prototypes = torch.stack(prototypes).unflatten(0, (len(supports), -1)).mean(0)
        return prototype_scores(self.extract_feat(inputs), prototypes, self.scale)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None,
        mode: str = 'tensor',
        supports: Sequence[Mapping] = (),
    ) -> Tensor | dict[str, Tensor] | list[SegDataSample]:
        """Score, learn from or label queries ``(n, 3, H, W)``.

        Args:
            inputs: The queries.
            data_samples: Theirs; with labels for the mode ``'loss'``.
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``.
            supports: As for :meth:`encode_decode`.

        Returns:
            What the method of this mode returns.
        """
        modes = {'tensor': self._forward, 'loss': self.loss, 'predict': self.predict}
        return modes[mode](inputs, data_samples, supports)

    def _forward(self, inputs: Tensor, data_samples: object, supports: Sequence[Mapping]) -> Tensor:
        return self.encode_decode(inputs, supports)

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample], supports: Sequence[Mapping]
    ) -> dict[str, Tensor]:
        """Cross-entropy of the queries' pixels, as ``loss_ce``."""
        labels = torch.cat([sample.gt_sem_seg.data for sample in data_samples]).long()
        scores = self.encode_decode(inputs, supports)
        scores = F.interpolate(scores, labels.shape[1:], mode='bilinear', align_corners=False)
        return {'loss_ce': F.cross_entropy(scores, labels, ignore_index=_IGNORE)}

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample], supports: Sequence[Mapping]
    ) -> list[SegDataSample]:
        """The samples with ``pred_sem_seg``, 1 for the class, in the size of the image's file."""
        return self.postprocess_result(self.encode_decode(inputs, supports), data_samples)
