"""EoMT's queries and predictions (arXiv 2503.19108)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from ...adapters.base import is_count
from .mask_head import MaskHead


class Upscale(nn.Module):
    """Doubles the sides of maps of ``width`` channels (section 3.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = LayerNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, width, h, w)`` to ``(n, width, 2 * h, 2 * w)``."""
        return self.norm(self.conv2(self.act(self.conv1(x))))


@MODELS.register_module()
class EoMTHead(MaskHead, nn.Module):
    """Queries that pass the last blocks of a vision transformer, and what is predicted of them.

    :class:`~soma.models.segmentors.eomt.EoMT` takes the transformer's width and patch size. Losses
    and matching are Mask2Former's (:class:`~.mask_head.MaskHead`); parameters have the names of the
    public files. Maps have about a quarter of the patch as stride.

    Args:
        num_classes: Number of classes.
        in_channels: Width of the transformer, which :class:`EoMT` fills in.
        patch_size: Side of a patch in pixels, filled in as well.
        num_queries: Number of queries.
        num_blocks: Number of last blocks that they pass.
        ignore_index: Label of pixels that do not count.
        num_points: Number of points at which masks are matched, and trained.

    Attributes:
        mask_probabilities: For each of these blocks, how probable it is in training that a query
            sees those patches alone that are in its mask. ``MaskAnnealingHook`` sets them.

    Raises:
        ValueError: If a number is none.
    """

    align_corners = False
    oversample_ratio, importance_sample_ratio = 3.0, 0.75
    loss_weights = cost_weights = (2.0, 5.0, 5.0)
    dice_eps = cost_eps = 1.0

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        patch_size: int,
        num_queries: int = 100,
        num_blocks: int = 4,
        ignore_index: int = 255,
        num_points: int = 12544,
    ) -> None:
        super().__init__()
        if wrong := [n for n in (num_queries, num_blocks, num_points) if not is_count(n)]:
            raise ValueError(
                'EoMTHead: num_queries, num_blocks and num_points must be at least 1, and whole, '
                f'got {wrong[0]!r}'
            )
        self.num_classes = self.out_channels = num_classes
        self.num_queries, self.num_blocks = num_queries, num_blocks
        self.ignore_index, self.num_points = ignore_index, num_points
        self.mask_probabilities = [0.0] * num_blocks
        class_weights = torch.tensor([1.0] * num_classes + [0.1])  # the last of no object
        self.register_buffer('class_weights', class_weights, persistent=False)
        self.q = nn.Embedding(num_queries, in_channels)
        self.class_head = nn.Linear(in_channels, num_classes + 1)
        linear = [nn.Linear(in_channels, in_channels) for _ in range(3)]
        self.mask_head = nn.Sequential(linear[0], nn.GELU(), linear[1], nn.GELU(), linear[2])
        doublings = max(1, round(math.log2(patch_size)) - 2)
        self.upscale = nn.Sequential(*(Upscale(in_channels) for _ in range(doublings)))

    def add_queries(self, tokens: Tensor) -> Tensor:
        """Put the queries before tokens: ``(n, t, dim)`` to ``(n, queries + t, dim)``."""
        return torch.cat([self.q.weight.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def read(self, tokens: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Predict from tokens.

        Args:
            tokens: Normalised, queries first and patches last, ``(n, t, c)``.
            size: Height and width of the grid of patches, ``(h, w)``.

        Returns:
            Class scores ``(n, queries, C + 1)``, mask embeddings ``(n, queries, c)`` and mask
            features ``(n, c, h', w')``.
        """
        query = tokens[:, : self.num_queries]
        patches = tokens[:, -size[0] * size[1] :].transpose(1, 2).unflatten(2, size)
        return self.class_head(query), self.mask_head(query), self.upscale(patches)

    @torch.no_grad()
    def attention_mask(
        self, embeddings: Tensor, features: Tensor, size: Sequence[int], block: int, count: int
    ) -> Tensor | None:
        """Which tokens see which others in a block in training (section 3.3).

        A query sees other queries and the prefix, and the patches that are in its mask; all else
        sees everything. As resizing is linear, it is done before the product.

        Args:
            embeddings: Of the masks before the block, ``(n, queries, c)``.
            features: Of these, ``(n, c, h', w')``.
            size: As for :meth:`read`.
            block: Index among :attr:`mask_probabilities`.
            count: Number of all tokens, t.

        Returns:
            Shape ``(n, 1, t, t)``; None if no query is masked.
        """
        probability = self.mask_probabilities[block]
        if probability <= 0:
            return None
        coarse = F.interpolate(features, size, mode='bilinear', align_corners=False)
        seen = embeddings @ coarse.flatten(2) > 0  # (n, queries, h * w)
        if probability < 1:
            free = torch.rand(seen.shape[:2], device=seen.device) >= probability
            seen = seen | free[..., None]
        mask = seen.new_ones(len(seen), 1, count, count)
        mask[:, 0, : self.num_queries, -seen.shape[2] :] = seen
        return mask

    def decode(self, x: tuple[list[Tensor], ...]) -> tuple[list[Tensor], ...]:
        """What :meth:`EoMT.extract_feat` returns: predictions of each layer, as it is."""
        return x
