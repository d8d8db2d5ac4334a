"""The parts of Co-DETR: mmdet's heads that also return the boxes that they take as positive."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.ops import batched_nms
from mmdet.models import ATSSHead, StandardRoIHead
from mmdet.models.layers import inverse_sigmoid
from mmdet.models.utils import multi_apply
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .float32_heads import Float32DINOHead


def image_factor(like: Tensor, meta: dict) -> Tensor:
    """Width, height, width, height of an image in pixels, shape ``(4,)``."""
    height, width = meta['img_shape'][:2]
    return like.new_tensor([width, height, width, height])


@MODELS.register_module()
class CoRoIHead(StandardRoIHead):
    """mmdet's RoI head that gives away its positive proposals (arXiv 2211.12860, section 3.3)."""

    def loss_and_positives(
        self, x: Sequence[Tensor], proposals: list[InstanceData], samples: SampleList
    ) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """Compute the losses.

        Args:
            x: Maps ``(n, c, h, w)``.
            proposals: Of the RPN, for each image.
            samples: Ground truth.

        Returns:
            Losses, and for each image its P positives: ``priors`` and the ground truth ``bboxes``
            that they are to become ``(P, 4)`` in pixels, ``labels (P,)``, ``features (P, c)``.
        """
        losses = self.loss(x, proposals, samples)
        return losses, losses.pop('positives')

    def bbox_loss(self, x: Sequence[Tensor], sampling_results: list) -> dict:
        """Compute the losses of the boxes, with the positives among them."""
        results = super().bbox_loss(x, sampling_results)
        features = results['bbox_feats'].mean((2, 3))
        features = features.split([len(sampled.priors) for sampled in sampling_results])
        results['loss_bbox']['positives'] = [
            InstanceData(
                priors=sampled.pos_priors,
                bboxes=sampled.pos_gt_bboxes,
                labels=sampled.pos_gt_labels,
                features=of_image[: len(sampled.pos_priors)],  # the negatives come after them
            )
            for sampled, of_image in zip(sampling_results, features, strict=True)
        ]
        return results


@MODELS.register_module()
class CoATSSHead(ATSSHead):
    """mmdet's ATSS head that gives away its positive anchors (arXiv 2211.12860, section 3.3)."""

    def loss_and_positives(
        self, x: Sequence[Tensor], samples: SampleList
    ) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """Compute the losses.

        Args:
            x: Maps ``(n, c, h, w)``.
            samples: Ground truth.

        Returns:
            As :meth:`CoRoIHead.loss_and_positives`; the features are those of an anchor's place.
        """
        losses = self.loss(x, samples)
        anchors, labels, _, boxes = (torch.cat(levels, 1) for levels in self._targets[:4])
        del self._targets
        features = torch.cat([level.flatten(2) for level in x], 2).transpose(1, 2)  # (n, hw, c)
        positives = []
        for i in range(len(samples)):
            index = (labels[i] < self.num_classes).nonzero().squeeze(1)
            positives.append(
                InstanceData(
                    priors=anchors[i][index],
                    bboxes=boxes[i][index],
                    labels=labels[i][index],
                    features=features[i][index // self.num_base_priors],
                )
            )
        return losses, positives

    def get_targets(self, *args, **kwargs) -> tuple:
        """Assign anchors, and keep the assignment for :meth:`loss_and_positives`."""
        self._targets = super().get_targets(*args, **kwargs)
        return self._targets


@MODELS.register_module()
class CoDINOHead(Float32DINOHead):
    """A DINO head that also learns from queries whose targets are given.

    ``test_cfg.nms``, such as ``dict(type='soft_nms', iou_threshold=0.8)``, thins out what it
    predicts.
    """

    def forward(self, hidden_states: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Classify the queries and refine their boxes.

        mmdet's head clips the boxes at another value than the decoder that made them.

        Args:
            hidden_states: As for ``Float32DINOHead``.
            references: As for ``Float32DINOHead``.

        Returns:
            As ``Float32DINOHead``.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            scores, boxes = [], []
            for layer, state in enumerate(hidden_states.float()):
                start = inverse_sigmoid(references[layer].float(), eps=1e-3)
                scores.append(self.cls_branches[layer](state))
                boxes.append((self.reg_branches[layer](state) + start).sigmoid())
            return torch.stack(scores), torch.stack(boxes)

    def loss(
        self,
        hidden_states: Tensor,
        references: list[Tensor],
        enc_outputs_class: Tensor,
        enc_outputs_coord: Tensor,
        batch_data_samples: SampleList,
        dn_meta: dict,
        positives: dict[str, list[InstanceData]] | None = None,
        query_counts: Sequence[int] = (),
    ) -> dict[str, Tensor]:
        """Compute the losses of DINO, and those of the auxiliary heads' queries.

        Args:
            hidden_states: Shape ``(layers, n, queries, c)``: DINO's queries, then those of each
                auxiliary head.
            references: As for ``DINOHead``.
            enc_outputs_class: As for ``DINOHead``.
            enc_outputs_coord: As for ``DINOHead``.
            batch_data_samples: Ground truth.
            dn_meta: As for ``DINOHead``.
            positives: By name of the auxiliary head, what its first queries of each image are to
                find; further ones are padding.
            query_counts: Number of queries of each auxiliary head.

        Returns:
            DINO's losses, and ``<head>.d<layer>.query_loss_*``; without a layer: the last one.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        ground_truth = [sample.gt_instances for sample in batch_data_samples]
        scores, boxes = self(hidden_states, references)
        counts = [scores.shape[2] - sum(query_counts), *query_counts]
        (scores, *aux_scores), (boxes, *aux_boxes) = scores.split(counts, 2), boxes.split(counts, 2)
        losses = self.loss_by_feat(
            scores, boxes, enc_outputs_class, enc_outputs_coord, ground_truth, metas, dn_meta
        )
        aux = zip((positives or {}).items(), aux_scores, aux_boxes, strict=True)
        for (name, targets), head_scores, head_boxes in aux:
            by_kind = multi_apply(
                self.loss_by_feat_single,
                head_scores,
                head_boxes,
                batch_gt_instances=targets,
                batch_img_metas=metas,
            )
            last = len(head_scores) - 1
            for kind, values in zip(('cls', 'bbox', 'iou'), by_kind, strict=True):
                for layer, value in enumerate(values):
                    place = name if layer == last else f'{name}.d{layer}'
                    losses[f'{place}.query_loss_{kind}'] = value
        return losses

    def _get_targets_single(
        self, cls_score: Tensor, bbox_pred: Tensor, gt_instances: InstanceData, img_meta: dict
    ) -> tuple[Tensor, ...]:
        """Match queries and ground truth; one with ``priors`` is matched in its order."""
        if 'priors' not in gt_instances:
            return super()._get_targets_single(cls_score, bbox_pred, gt_instances, img_meta)
        queries, count = len(cls_score), len(gt_instances)
        weights = bbox_pred.new_zeros(queries)
        weights[:count] = 1
        labels = gt_instances.labels.new_full((queries,), self.num_classes)
        labels[:count] = gt_instances.labels
        targets = torch.zeros_like(bbox_pred)
        boxes = gt_instances.bboxes / image_factor(bbox_pred, img_meta)
        targets[:count] = bbox_xyxy_to_cxcywh(boxes)
        index = torch.arange(count, device=bbox_pred.device)
        return labels, weights, targets, weights[:, None].expand(-1, 4), index, index[:0]

    def _predict_by_feat_single(
        self, cls_score: Tensor, bbox_pred: Tensor, img_meta: dict, rescale: bool = True
    ) -> InstanceData:
        """Predict the boxes of an image, without those that others cover."""
        objects = super()._predict_by_feat_single(cls_score, bbox_pred, img_meta, rescale)
        nms = self.test_cfg.get('nms')
        if nms is None or not len(objects):
            return objects
        boxes, kept = batched_nms(objects.bboxes, objects.scores, objects.labels, nms)
        objects = objects[kept]
        objects.scores = boxes[:, -1]  # soft-NMS changes them
        return objects
