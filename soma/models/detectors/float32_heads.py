"""mmdet's heads whose boxes are exact in mixed precision.

bfloat16 has 8 bits: a corner in an image of 1024 pixels would be off by up to 2 pixels.
"""

from __future__ import annotations

import torch
from mmdet.models import DINOHead, RPNHead
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class Float32DINOHead(DINOHead):
    """mmdet's DINO head, a small part of the work, in float32."""

    def forward(self, hidden_states: Tensor, references: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Classify the queries and refine their boxes.

        Args:
            hidden_states: Shape ``(layers, n, queries, c)``.
            references: The boxes that each layer starts from ``(n, queries, 4)``, 0 to 1.

        Returns:
            Scores before the sigmoid ``(layers, n, queries, classes)``, and boxes
            ``(cx, cy, w, h)`` from 0 to 1 ``(layers, n, queries, 4)``, in float32.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            return super().forward(hidden_states.float(), [x.float() for x in references])


@MODELS.register_module()
class Float32RPNHead(RPNHead):
    """mmdet's RPN head, whose outputs are float32: mmdet makes anchors of their precision."""

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find out what is an object.

        Args:
            x: A map ``(n, c, h, w)``.

        Returns:
            Scores before the sigmoid ``(n, anchors, h, w)``, and the changes of the anchors
            ``(n, anchors * 4, h, w)``, in float32.
        """
        scores, changes = super().forward_single(x)
        return scores.float(), changes.float()
