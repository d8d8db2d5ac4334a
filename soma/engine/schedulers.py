"""Schedulers of optimizer settings."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import (
    CosineAnnealingParamScheduler,
    _ParamScheduler,
)
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


@PARAM_SCHEDULERS.register_module()
class WarmupPolyLR(_ParamScheduler):
    """Warm learning rates up, linearly, and let them fall polynomially, each group in its time.

    A group may have a ``warmup`` of its own and a ``delay`` before it, in which it does not learn:
    ``custom_keys={'backbone': dict(delay=500, warmup=1000)}``. So new parts learn before pretrained
    ones (EoMT, arXiv 2503.19108).

    Args:
        optimizer: Optimizer or optimizer wrapper.
        warmup: Iterations of the warm-up of groups that do not say it.
        end: Iteration at which all rates are zero.
        power: Of the polynomial.
        **kwargs: ``last_step`` and ``verbose``, as for mmengine's schedulers.

    Raises:
        ValueError: If a group has warmed up only after the end.
    """

    def __init__(
        self,
        optimizer: Optimizer | OptimWrapper,
        warmup: int,
        end: int,
        power: float = 0.9,
        **kwargs: Any,
    ) -> None:
        groups = optimizer.param_groups
        self.spans = [(g.get('delay', 0), g.get('warmup', warmup)) for g in groups]
        if longest := [sum(span) for span in self.spans if not min(span) >= 0 < end - sum(span)]:
            raise ValueError(
                f'WarmupPolyLR: delay and warmup must be >= 0 and before end={end}, got together '
                f'{longest[0]}'
            )
        self.power = power
        super().__init__(optimizer, 'lr', end=end, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        """The learning rate of each group at this step."""
        return [
            base * self._factor(*span)
            for base, span in zip(self.base_values, self.spans, strict=True)
        ]

    def _factor(self, delay: int, warmup: int) -> float:
        step = self.last_step - delay
        if step < warmup:
            return max(step, 0) / max(warmup, 1)
        return (1 - (step - warmup) / (self.end - delay - warmup)) ** self.power
