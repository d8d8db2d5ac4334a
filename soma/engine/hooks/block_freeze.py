"""Watch over what must not change."""

from __future__ import annotations

import hashlib

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ...adapters.layer import AdapterLayer
from ...adapters.report import adapter_report
from ...adapters.sharded import local
from ...models.build import plain_model


@HOOKS.register_module()
class BlockFreezeHook(Hook):
    """Keep what is frozen frozen, and prove it.

    Before training it checks that no parameter is trainable that its module declares frozen
    (``frozen_names()``, as the backbones of this package have), and logs a table of both kinds.
    During training it keeps modules without any trainable parameter in eval mode. After training it
    checks that every frozen tensor is bit-identical to what it was.
    """

    def before_train(self, runner: Runner) -> None:
        """Check, log, and remember what is frozen.

        Raises:
            RuntimeError: If a parameter is trainable that must be frozen.
        """
        model = plain_model(runner.model)
        for prefix, module in model.named_modules():
            if not hasattr(module, 'frozen_names'):
                continue
            frozen = module.frozen_names()
            wrong = [n for n, p in module.named_parameters() if p.requires_grad and n in frozen]
            if wrong:
                raise RuntimeError(
                    f'{len(wrong)} parameters of {prefix} are trainable but must be frozen: '
                    f'{wrong[:5]}; something set requires_grad after the model was built'
                )
        runner.logger.info(f'trainable and frozen parameters:\n{adapter_report(model)}')
        self._modules = frozen_modules(model)
        self._digests = {name: digest(tensor) for name, tensor in frozen_tensors(model).items()}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Put frozen modules into eval mode; the loop sets all to train mode now and then."""
        for module in self._modules:
            if module.training:
                module.eval()

    def after_train(self, runner: Runner) -> None:
        """Compare the frozen tensors with what they were.

        Raises:
            RuntimeError: If one has changed.
        """
        tensors = frozen_tensors(plain_model(runner.model))
        changed = [n for n, old in self._digests.items() if digest(tensors[n]) != old]
        if changed:
            raise RuntimeError(f'{len(changed)} frozen tensors changed in training: {changed[:5]}')
        runner.logger.info(f'{len(tensors)} frozen tensors are bit-identical after training')


def frozen_modules(model: nn.Module) -> list[nn.Module]:
    """The largest modules of a model that have parameters, all of them frozen."""
    return _frozen_inside(model)[1]


def _frozen_inside(module: nn.Module) -> tuple[set[bool], list[nn.Module]]:
    """Which values of ``requires_grad`` there are in a module, and what is frozen whole in it."""
    flags = {parameter.requires_grad for parameter in module.parameters(recurse=False)}
    frozen = []
    for child in module.children():
        inside = _frozen_inside(child)
        flags |= inside[0]
        frozen += inside[1]
    return flags, [module] if flags == {False} else frozen


def frozen_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Frozen parameters by name, buffers of frozen modules and of adapted layers."""
    tensors = {n: p for n, p in model.named_parameters() if not p.requires_grad}
    fixed = [*frozen_modules(model), *(m for m in model.modules() if isinstance(m, AdapterLayer))]
    inside = {id(buffer) for module in fixed for buffer in module.buffers()}
    return tensors | {n: buffer for n, buffer in model.named_buffers() if id(buffer) in inside}


def digest(tensor: Tensor) -> str:
    """A hash of the bytes of a tensor, or of this process's part of it."""
    data = local(tensor.detach()).cpu().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(data.numpy()).hexdigest()
