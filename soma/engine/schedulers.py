"""Schedulers of optimizer settings."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import CosineAnnealingParamScheduler
from mmengine.registry import PARAM_SCHEDULERS
from torch.optim import Optimizer


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingWeightDecay(CosineAnnealingParamScheduler):
    """Anneal the weight decay along a cosine (SoMA, arXiv 2412.04077, section 3.3).

    Groups without weight decay stay without it.

    Args:
        optimizer: Optimizer or optimizer wrapper.
        *args: As for mmengine's ``CosineAnnealingLR``.
        **kwargs: As for mmengine's ``CosineAnnealingLR``: ``T_max``, ``eta_min``, ``begin``,
            ``end``, ``by_epoch`` ...
    """

    def __init__(self, optimizer: Optimizer | OptimWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, 'weight_decay', *args, **kwargs)

    def _get_value(self) -> list[float]:
        """The weight decay of each group at this step."""
        return [
            value if base else 0.0
            for base, value in zip(self.base_values, super()._get_value(), strict=True)
        ]
