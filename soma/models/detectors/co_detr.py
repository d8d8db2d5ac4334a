"""Co-DETR on mmdet's DINO: one-to-many heads that teach the encoder and the decoder."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.models import DINO
from mmdet.models.layers import inverse_sigmoid
from mmdet.models.utils import rename_loss_dict
from mmdet.registry import MODELS as DETECTION_MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from .co_decoder import CoDecoder
from .co_heads import image_factor

BRANCHES = ('detr', 'rpn+roi', 'atss')
Positives = dict[str, list[InstanceData]]


class PositiveQueries(nn.Module):
    """Makes decoder queries of boxes (arXiv 2211.12860, equation 4).

    Args:
        dims: Channels of features and queries.
        use_features: Whether the boxes' features are in them, or their places alone.
    """

    def __init__(self, dims: int, use_features: bool) -> None:
        super().__init__()
        self.position = nn.Sequential(nn.Linear(2 * dims, dims), nn.LayerNorm(dims))
        self.content = (
            nn.Sequential(nn.Linear(dims, dims), nn.LayerNorm(dims)) if use_features else None
        )

    def forward(self, boxes: Tensor, features: Tensor) -> Tensor:
        """Make queries.

        Args:
            boxes: ``(cx, cy, w, h)`` from 0 to 1, shape ``(n, P, 4)``.
            features: Shape ``(n, P, dims)``.

        Returns:
            Shape ``(n, P, dims)``.
        """
        embedding = DINO.get_proposal_pos_embed(inverse_sigmoid(boxes), features.shape[2] // 2)
        position = self.position(embedding)
        return position if self.content is None else position + self.content(features)


@MODELS.register_module()
class CoDETR(DINO):
    """DINO with the collaborative hybrid assignments of Co-DETR (arXiv 2211.12860).

    While it trains, auxiliary heads with one-to-many assignment (RPN and RoI head, ATSS) read the
    encoder's output, and the boxes that they take as positive become queries of the decoder, with
    their own targets. All queries pass the decoder at once; a mask keeps those of DINO and of each
    head apart. A test by the DETR branch does nothing of this.

    Args:
        *args: As for ``DINO``, whose ``bbox_head`` is a ``CoDINOHead``; ``decoder`` may have the
            ``num_feats`` of a :class:`CoDecoder`, without which it is mmdet's own.
        rpn_head: Config of ``Float32RPNHead``, None for neither RPN nor RoI head.
        roi_head: Config of a ``CoRoIHead``.
        atss_head: Config of a ``CoATSSHead``, None for none.
        max_positives: Largest number of queries that an auxiliary head adds for an image.
        query_features: Whether these queries hold the features of their boxes (equation 4), or
            their places alone, as in the release.
        downsample_bias: Whether the convolution that makes the auxiliary heads' further level has
            a bias, as in the release.
        branch: Which heads predict: ``'detr'``, ``'rpn+roi'`` or ``'atss'``.
        train_cfg: Of ``DINO``; and ``rpn``, ``rpn_proposal``, ``rcnn``, ``atss``.
        test_cfg: Of ``DINO``; and ``rpn``, ``rcnn``, ``atss``.
        **kwargs: As for ``DINO``.

    Raises:
        ValueError: If ``branch`` is unknown or has no heads, or an RPN comes without a RoI head.
    """

    def __init__(
        self,
        *args: Any,
        rpn_head: Mapping | None = None,
        roi_head: Mapping | None = None,
        atss_head: Mapping | None = None,
        max_positives: int = 300,
        query_features: bool = True,
        downsample_bias: bool = False,
        branch: str = 'detr',
        train_cfg: Mapping | None = None,
        test_cfg: Mapping | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, train_cfg=train_cfg, test_cfg=test_cfg, **kwargs)
        if (rpn_head is None) != (roi_head is None):
            raise ValueError('CoDETR: rpn_head and roi_head go together')
        there = {'detr': True, 'rpn+roi': rpn_head is not None, 'atss': atss_head is not None}
        if not there.get(branch):
            known = [name for name in BRANCHES if there[name]]
            raise ValueError(f'CoDETR: branch must be one of {known}, got {branch!r}')
        self.branch, self.max_positives = branch, max_positives
        self.rpn_head = self._build(rpn_head, 'rpn')
        self.roi_head = self._build(roi_head, 'rcnn')
        self.atss_head = self._build(atss_head, 'atss')
        heads = [name for name in ('roi', 'atss') if getattr(self, f'{name}_head') is not None]
        if heads:
            dims = self.embed_dims
            self.aux_queries = nn.ModuleDict(
                {name: PositiveQueries(dims, query_features) for name in heads}
            )
            # the auxiliary heads see a level more than the encoder
            norm = dict(type='GN', num_groups=32)
            self.downsample = ConvModule(
                dims, dims, 3, 2, 1, bias=downsample_bias, norm_cfg=norm, act_cfg=None
            )

    def _init_layers(self) -> None:
        self.decoder = dict(self.decoder)
        num_feats = self.decoder.pop('num_feats', None)
        super()._init_layers()
        if num_feats is not None:
            self.decoder = CoDecoder(self.decoder, num_feats)

    def _build(self, config: Mapping | None, name: str) -> nn.Module | None:
        if config is None:
            return None
        options = {
            f'{phase}_cfg': (getattr(self, f'{phase}_cfg') or {}).get(name)
            for phase in ('train', 'test')
        }
        return DETECTION_MODELS.build({**config, **options})

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of DINO, of the auxiliary heads, and of their queries.

        Args:
            batch_inputs: Images ``(n, 3, H, W)``, normalised.
            batch_data_samples: Ground truth.

        Returns:
            Losses by name.
        """
        features = self.extract_feat(batch_inputs)
        encoder_inputs, decoder_inputs = self.pre_transformer(features, batch_data_samples)
        encoded = self.forward_encoder(**encoder_inputs)
        queries, head_inputs = self.pre_decoder(**encoded, batch_data_samples=batch_data_samples)
        aux_losses, positives = self._aux_losses(encoded, batch_data_samples)
        counts = self._add_queries(queries, positives, batch_data_samples)
        decoded = self.forward_decoder(**decoder_inputs, **queries)
        losses = self.bbox_head.loss(
            **head_inputs,
            **decoded,
            batch_data_samples=batch_data_samples,
            positives=positives,
            query_counts=counts,
        )
        return {**losses, **aux_losses}

    def encoder_maps(self, memory: Tensor, spatial_shapes: Tensor) -> list[Tensor]:
        """Turn the encoder's output into maps.

        Args:
            memory: Shape ``(n, tokens, dims)``.
            spatial_shapes: Height and width of each level, shape ``(levels, 2)``.

        Returns:
            Maps ``(n, dims, h, w)``, and one more of half the size of the last.
        """
        sizes = spatial_shapes.tolist()
        levels = memory.transpose(1, 2).split([h * w for h, w in sizes], 2)
        maps = [level.unflatten(2, size) for level, size in zip(levels, sizes, strict=True)]
        return [*maps, self.downsample(maps[-1])]

    def _aux_losses(
        self, encoded: dict, samples: SampleList
    ) -> tuple[dict[str, Tensor], Positives]:
        losses, positives = {}, {}
        if not hasattr(self, 'aux_queries'):
            return losses, positives
        maps = self.encoder_maps(encoded['memory'], encoded['spatial_shapes'])
        if self.roi_head is not None:
            anything = copy.deepcopy(samples)  # the RPN knows one class
            for sample in anything:
                sample.gt_instances.labels.zero_()
            proposal_cfg = self.train_cfg['rpn_proposal']
            part, proposals = self.rpn_head.loss_and_predict(maps, anything, proposal_cfg)
            losses |= rename_loss_dict('rpn.', part)
            part, positives['roi'] = self.roi_head.loss_and_positives(maps, proposals, samples)
            losses |= rename_loss_dict('roi.', part)
        if self.atss_head is not None:
            part, positives['atss'] = self.atss_head.loss_and_positives(maps, samples)
            losses |= rename_loss_dict('atss.', part)
        return losses, {name: [*map(self._choose, images)] for name, images in positives.items()}

    def _choose(self, positives: InstanceData) -> InstanceData:
        """Draw as many as there may be."""
        if len(positives) <= self.max_positives:
            return positives
        device = positives.labels.device
        return positives[torch.randperm(len(positives), device=device)[: self.max_positives]]

    def _add_queries(self, inputs: dict, positives: Positives, samples: SampleList) -> list[int]:
        """Append the queries of the auxiliary heads to the decoder's inputs, in place.

        Args:
            inputs: ``query (n, q, dims)``, ``reference_points (n, q, 4)``, ``dn_mask (q, q)``.
            positives: As :class:`CoDINOHead` takes them.
            samples: For the sizes of the images.

        Returns:
            How many queries each head has added, padding included.
        """
        if not positives:
            return []
        query, points = [inputs['query']], [inputs['reference_points']]
        blocks = [inputs['dn_mask'].expand(len(samples), -1, -1)]
        for name, images in positives.items():
            boxes, features, block = self._pad(images, samples)
            query.append(self.aux_queries[name](boxes, features))
            points.append(boxes)
            blocks.append(block)
        inputs['query'], inputs['reference_points'] = torch.cat(query, 1), torch.cat(points, 1)
        counts = [part.shape[1] for part in query]
        # True: not to be seen. Each block sees itself alone.
        mask = blocks[0].new_ones(len(samples), sum(counts), sum(counts))
        for block, end in zip(blocks, itertools.accumulate(counts), strict=True):
            mask[:, end - len(block[0]) : end, end - len(block[0]) : end] = block
        heads = self.decoder.layers[0].self_attn.num_heads
        inputs['dn_mask'] = mask.repeat_interleave(heads, 0)  # (n * heads, queries, queries)
        return counts[1:]

    @staticmethod
    def _pad(positives: list[InstanceData], samples: SampleList) -> tuple[Tensor, Tensor, Tensor]:
        """Bring the positives of all images to one number P.

        Returns:
            Boxes ``(n, P, 4)``, ``(cx, cy, w, h)`` from 0 to 1; features ``(n, P, dims)``; which
            queries a query must not see ``(n, P, P)``: padding, but for itself.
        """
        boxes = [
            bbox_xyxy_to_cxcywh(image.priors / image_factor(image.priors, sample.metainfo))
            for image, sample in zip(positives, samples, strict=True)
        ]
        counts = torch.tensor([*map(len, boxes)], device=boxes[0].device)
        boxes, features = (
            nn.utils.rnn.pad_sequence(parts, batch_first=True)
            for parts in (boxes, [image.features for image in positives])
        )
        index = torch.arange(boxes.shape[1], device=boxes.device)
        padding = index >= counts[:, None]  # (n, P)
        return boxes.clamp(0, 1), features, padding[:, None] & (index != index[:, None])

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Detect with the heads of ``branch``.

        Args:
            batch_inputs: Images ``(n, 3, H, W)``, normalised.
            batch_data_samples: Their meta information.
            rescale: Whether boxes are in pixels of the original images.

        Returns:
            The samples, with ``pred_instances``.
        """
        if self.branch == 'detr':
            return super().predict(batch_inputs, batch_data_samples, rescale)
        inputs, _ = self.pre_transformer(self.extract_feat(batch_inputs), batch_data_samples)
        encoded = self.forward_encoder(**inputs)
        maps = self.encoder_maps(encoded['memory'], encoded['spatial_shapes'])
        if self.branch == 'atss':
            results = self.atss_head.predict(maps, batch_data_samples, rescale)
        else:
            proposals = self.rpn_head.predict(maps, batch_data_samples, rescale=False)
            results = self.roi_head.predict(maps, proposals, batch_data_samples, rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)
