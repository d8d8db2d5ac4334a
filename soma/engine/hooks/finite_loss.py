"""Losses fetched in one copy; a training that has gone wrong stopped."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from ...io.files import InputError
from ...models.build import plain_model

_ADVICE = 'Try a lower learning rate, bfloat16 in place of float16'


class LossError(InputError, RuntimeError):
    """Training that cannot go on, since losses or weights are NaN; the message is for users."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop a training that has gone wrong, before a checkpoint holds what came of it.

    All other hooks come later and get the losses as numbers, so that only one copy stops the GPU.
    It is a hook of ``SomaRunner``, which knows the file that is being written.
    """

    priority = 'HIGHEST'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Make numbers of the losses and check them.

        Raises:
            LossError: If a loss is NaN or infinite.
        """
        outputs.update(fetch_losses(outputs))
        try:
            check_losses(outputs, runner.iter + 1, data_batch)
        except LossError as error:  # the log should end with the reason
            runner.logger.error(error)
            raise

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights that are to be written.

        Raises:
            LossError: If one is NaN or infinite.
        """
        parameters = plain_model(runner.model).named_parameters()
        trainable = {name for name, parameter in parameters if parameter.requires_grad}
        state = {n: v for n, v in checkpoint['state_dict'].items() if n in trainable}
        check_weights(state, runner.checkpoint_name)


def fetch_losses(losses: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Copy the losses of a step, tensors of one element or numbers, to the CPU, all in one copy.

    The GPU stops only once for it.
    """
    tensors = {n: v.detach().float().reshape(()) for n, v in losses.items() if torch.is_tensor(v)}
    numbers = torch.stack([*tensors.values()]).tolist() if tensors else []
    return {**losses, **dict(zip(tensors, numbers, strict=True))}


def check_losses(losses: Mapping[str, float], iteration: int, data_batch: object) -> None:
    """Stop a training that has gone wrong.

    Args:
        losses: By name, as :func:`fetch_losses` returns them. As in mmengine, what has no ``loss``
            in its name (an accuracy) is only logged.
        iteration: The step, counted from 1.
        data_batch: What the data loader gave; its samples name their images.

    Raises:
        LossError: If a loss is NaN or infinite.
    """
    wrong = {n: v for n, v in losses.items() if 'loss' in n and not math.isfinite(v)}
    if wrong:
        values = ', '.join(f'{name} = {value}' for name, value in wrong.items())
        raise LossError(
            f'iteration {iteration}: {values}. {_ADVICE}, or look at these images: '
            f'{", ".join(_images(data_batch)) or "(the batch does not name them)"}'
        )


def check_weights(trainable: Mapping[str, Tensor], filename: str) -> None:
    """Keep broken weights out of a checkpoint.

    A gradient may overflow while the loss does not, or come from another process.

    Args:
        trainable: What trains, by name.
        filename: The checkpoint that is to be written.

    Raises:
        LossError: If a tensor holds NaN or infinity.
    """
    flags = [tensor.isfinite().all() for tensor in trainable.values()]
    finite = torch.stack(flags).tolist() if flags else []
    wrong = [name for name, fine in zip(trainable, finite, strict=True) if not fine]
    if wrong:
        raise LossError(
            f'{filename} is not written: NaN or infinite are {", ".join(wrong[:3])} ... '
            f'({len(wrong)} of {len(trainable)}). {_ADVICE}; the last checkpoint is from before'
        )


def _images(data_batch: object) -> list[str]:
    """Files of a batch, one for each sample."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
    return [str(sample.get('img_path', 'one without a name')) for sample in samples or []]
