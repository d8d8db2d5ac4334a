"""Mask2Former's head on queries that Rein makes of its tokens (arXiv 2312.04265, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from .mask2former import LeanMask2FormerHead


@MODELS.register_module()
class ReinMask2FormerHead(LeanMask2FormerHead):
    """Mask2Former whose queries come from the tokens of a backbone with Rein.

    The backbone has ``adapter=dict(type='Rein', link=True, num_tokens=num_queries,
    query_dims=feat_channels)`` and returns its maps and the queries. These replace the learned
    ``query_embed``, and through a linear map, ``querys2feat``, the learned ``query_feat``.

    Args:
        num_classes: Number of classes.
        replace_query_feat: Whether ``query_feat`` is replaced, too.
        **kwargs: As in the parent class.

    Attributes:
        wants_queries: That the backbone must make queries.
    """

    wants_queries = True

    def __init__(self, num_classes: int, replace_query_feat: bool = True, **kwargs: Any) -> None:
        super().__init__(num_classes=num_classes, **kwargs)
        self.width = self.query_embed.embedding_dim
        self.replace_query_feat = replace_query_feat
        del self.query_embed
        if replace_query_feat:
            del self.query_feat
            self.querys2feat = nn.Linear(self.width, self.width)  # named as in the public files

    def start_queries(
        self, x: tuple[Sequence[Tensor], Tensor]
    ) -> tuple[Sequence[Tensor], Tensor, Tensor]:
        """Take the queries from what the backbone returns.

        Args:
            x: Its maps and the queries ``(queries, c)``.

        Returns:
            The maps, features and positions of the queries, both ``(queries, c)``.

        Raises:
            ValueError: If there are no queries, or they have another shape.
        """
        if not (isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], list | tuple)):
            raise ValueError(f'{self.queries_hint()}; it returns maps alone')
        maps, queries = x
        if queries.shape != (self.num_queries, self.width):
            raise ValueError(f'{self.queries_hint()}; its queries are {tuple(queries.shape)}')
        features = self.querys2feat(queries) if self.replace_query_feat else self.query_feat.weight
        return maps, features, queries

    def queries_hint(self) -> str:
        """Say what the backbone must have."""
        return (
            'ReinMask2FormerHead takes its queries from the backbone, which needs '
            f"adapter=dict(type='Rein', link=True, num_tokens={self.num_queries}, "
            f'query_dims={self.width})'
        )
