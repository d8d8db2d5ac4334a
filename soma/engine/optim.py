"""Optimizer groups."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MMLogger, print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from torch import nn
from torch.optim import Adam, AdamW

from ..adapters.inject import adapter_factors


def group_by_settings(params: list[dict], defaults: dict) -> list[dict]:
    """Join optimizer groups of equal settings, keeping the order of the parameters.

    Args:
        params: Groups, each with a list of ``params``.
        defaults: Settings of a group that does not state them.

    Returns:
        Groups with all settings written out, no two alike.
    """
    groups: dict[tuple, dict] = {}
    for group in params:
        settings = {**defaults, **group}
        members = settings.pop('params')
        # What a multiplier did is in lr and weight_decay already.
        settings.pop('lr_mult', None)
        settings.pop('decay_mult', None)
        key = tuple(sorted((name, repr(value)) for name, value in settings.items()))
        groups.setdefault(key, {'params': [], **settings})['params'] += members
    return list(groups.values())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's ``paramwise_cfg``, with all parameters of equal settings in one group.

    Fewer groups mean fewer and larger kernels in the optimizer's step. An optimizer that can step
    in one pass over the memory (``fused``) does, unless the config says ``fused`` or ``foreach``.
    Frozen parameters are left out; those of adapters do not decay where they are exempt
    (``NO_DECAY``), and have their share of the learning rate (``LR_MULT``). The groups are logged,
    one line each.

    Args:
        optim_wrapper_cfg: As in the parent class.
        paramwise_cfg: As in the parent class.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # With an empty one, the parent class would take frozen parameters too and skip add_params.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or {'custom_keys': {}})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Make the optimizer and its wrapper."""
        if not {'fused', 'foreach'} & self.optimizer_cfg.keys() and self._can_fuse(model):
            self.optimizer_cfg = {**self.optimizer_cfg, 'fused': True}
        return super().__call__(model)

    def _can_fuse(self, model: nn.Module) -> bool:
        kind = self.optimizer_cfg['type']
        kind = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
        if kind is None:
            raise ValueError(f'{self.optimizer_cfg["type"]} is not in the optimizer registry')
        on_gpu = all(parameter.is_cuda for parameter in model.parameters())
        # Before 2.4 there were no such kernels for CPUs.
        return kind in (Adam, AdamW) and (on_gpu or torch.__version__ >= '2.4')

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add the parameters of a module, as the parent class does; then group them.

        Args:
            params: Groups, extended in place.
            module: The module; the whole model if ``prefix`` is empty.
            prefix: Dotted name of the module.
            **kwargs: ``is_dcn_module``, as in the parent class.
        """
        if prefix:  # the parent class recurses
            super().add_params(params, module, prefix, **kwargs)
            return
        with _without_parameter_lines():
            super().add_params(params, module, prefix, **kwargs)
        factors = adapter_factors(module)
        for group in params:
            lr, decay = factors.get(group['params'][0], (1.0, 1.0))
            if lr != 1:
                if self.base_lr is None:
                    raise ValueError(
                        f'optimizer: needs lr, of which the adapter takes {lr:g} times'
                    )
                group['lr'] = lr * group.get('lr', self.base_lr)
            if decay == 0:  # of an optimizer's own default, too
                group['weight_decay'] = 0.0
        defaults = {'lr': self.base_lr, 'weight_decay': self.base_wd}
        defaults = {name: value for name, value in defaults.items() if value is not None}
        params[:] = group_by_settings(params, defaults)
        for index, group in enumerate(params):
            shown = [f'{k}={group[k]:g}' for k in ('lr', 'weight_decay') if k in group]
            print_log(
                f'optimizer group {index}: {", ".join(shown)}, {len(group["params"])} tensors, '
                f'{sum(p.numel() for p in group["params"]):,} parameters',
                logger='current',
            )


@contextmanager
def _without_parameter_lines() -> Iterator[None]:
    """Silence the lines that mmengine logs for each parameter."""

    def keep(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (message.startswith('paramwise_options') or 'is skipped since' in message)

    logger = MMLogger.get_current_instance()
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
