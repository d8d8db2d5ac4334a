"""The runner: mmengine's, safe with checkpoints, exact when resumed, able to run on CPUs."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process, master_only
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch import nn

from ..adapters.describe import check_adapter
from ..adapters.pretrained import base_of
from ..adapters.split import split_together
from ..checkpoints.open import open_checkpoint
from ..io.checkpoint_files import (
    CheckpointError,
    load_strictly,
)
from ..io.files import atomic_path
from ..models.build import base_prefix, plain_model
from .card import training_card
from .losses import LossError, check_losses, check_weights, fetch_losses
from .resume import newest_checkpoint
from .seeding import seed_samples, seed_step


def _plain(value):
    """Make of a value what every reader takes: tensors and plain data.

    Numpy's values become Python's, history buffers the arguments that make them again, and what
    nobody can read back a text.
    """
    if isinstance(value, HistoryBuffer):
        history, counts = (array.tolist() for array in value.data)
        return {'log_history': history, 'count_history': counts, 'max_length': value.max_length}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {_plain(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)] if isinstance(value, list) else (*map(_plain, value),)
    known = isinstance(value, torch.Tensor | int | float | str | bytes | None)
    return value if known else str(value)


def _leave_group() -> None:
    """End gloo's threads; one that still drops a tensor when Python ends aborts the process."""
    failed = hasattr(sys, 'last_value')  # then the others may never answer
    if torch.distributed.is_initialized() and not failed:
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model holds the group too


@RUNNERS.register_module()
class SomaRunner(Runner):
    """mmengine's runner, made safe, exact and portable.

    It reads checkpoints with ``weights_only=True`` and without a fallback, whose names and shapes
    must be the model's, and writes them whole or not at all. The random numbers of a step follow
    from the seed and the iteration, so that a resumed run does what an uninterrupted one does.
    Without a GPU, several processes talk through gloo.
    """

    _card: dict | None = None  # of the checkpoints it writes

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment, as mmengine does; mmengine's own set-up asks for a GPU."""
        if not torch.cuda.is_available():
            env_cfg.setdefault('dist_cfg', {})['backend'] = 'gloo'
            if self.launcher == 'pytorch' and not torch.distributed.is_initialized():
                torch.distributed.init_process_group('gloo')
                atexit.register(_leave_group)
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, on CPU without a device."""
        if self.distributed and not torch.cuda.is_available():
            model_wrapper_cfg = {
                'type': 'MMDistributedDataParallel',
                'broadcast_buffers': False,
                **(model_wrapper_cfg or {}),
                'device_ids': None,
            }
        return super().wrap_model(model_wrapper_cfg, model)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, with random numbers by the position of each sample."""
        loop = super().build_train_loop(loop)
        seed_samples(loop.dataloader, self.seed, self.rank, lambda: loop.iter)
        return loop

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call the hooks.

        A training step is seeded before. They get its losses as numbers; what they leave of a
        checkpoint becomes tensors and plain data, with a card.

        Raises:
            LossError: If a loss is NaN or infinite.
        """
        if fn_name == 'before_train_iter':
            seed_step(self.seed, self.rank, self.iter)
        if fn_name == 'after_train_iter':
            kwargs['outputs'] = fetch_losses(kwargs['outputs'])
            try:
                check_losses(kwargs['outputs'], self.iter + 1, kwargs['data_batch'])
            except LossError as error:  # the log should say why it ends
                self.logger.error(error)
                raise
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_save_checkpoint':
            checkpoint = kwargs['checkpoint']
            checkpoint['message_hub'] = _plain(checkpoint['message_hub'])
            meta = checkpoint['meta']
            meta['soma'] = {**self.card.to_dict(), 'iteration': meta['iter']}
            checkpoint['meta'] = _plain(meta)

    @property
    def card(self) -> dict:
        """What the checkpoints of this run say of themselves, but the iteration."""
        if self._card is None:  # the base does not change in training
            self._card = training_card(self)
        return self._card

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write a checkpoint under a temporary name, flush it to disk, then rename it.

        Args:
            out_dir: Local folder.
            filename: Its name there.
            file_client_args: None; other storage has no such renaming.
            save_optimizer: Whether to write the optimizer's state.
            save_param_scheduler: Whether to write the schedulers' states.
            meta: Further plain data.
            by_epoch: Whether an epoch has ended, not an iteration.
            backend_args: None, as ``file_client_args``.

        Raises:
            ValueError: If it is to be written elsewhere than to local files.
            LossError: If the weights are NaN or infinite.
        """
        if file_client_args or backend_args or '://' in str(out_dir):
            raise ValueError(
                f'checkpoints are written to local files only, not to {out_dir} by '
                f'{file_client_args or backend_args}'
            )
        check_weights(self.model, filename)
        with atomic_path(Path(out_dir) / filename, flush=True) as temporary:
            super().save_checkpoint(
                str(temporary.parent),
                temporary.name,
                save_optimizer=save_optimizer,
                save_param_scheduler=save_param_scheduler,
                meta=meta,
                by_epoch=by_epoch,
            )

    def load_or_resume(self) -> None:
        """Load or resume as the config says.

        With ``resume='auto'``, or without a file to resume from, the newest checkpoint of the work
        dir that is whole is taken; if there is none, ``load_from`` is where training starts.
        """
        if self._resume == 'auto' or (self._resume and self._load_from is None):
            found = [newest_checkpoint(self.work_dir) if is_main_process() else None]
            broadcast_object_list(found)
            self._resume = found[0] is not None
            if self._resume:
                self._load_from = found[0]
            else:
                self.logger.info(f'no checkpoint in {self.work_dir}: training starts anew')
        super().load_or_resume()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device = 'cpu',
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict:
        """Load a checkpoint of any kind into the model; names and shapes must be the model's.

        A file without pretrained weights, as ``AdapterCheckpointHook`` and the extraction write it,
        goes onto those that the model has.

        Args:
            filename: Local file.
            map_location: Device of the tensors.
            revise_keys: Pairs of a regular expression and a replacement, applied to the names.

        Returns:
            What the file holds.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If the file is damaged, holds more than tensors and plain data, or
                does not fit the model or its pretrained weights.
        """
        opened = open_checkpoint(filename, map_location=map_location, mmap=False)
        opened = opened.renamed(revise_keys)
        model = plain_model(self.model)
        if card_of(opened.content):  # a file without a card does not say its alpha
            check_adapter(model, opened.card, filename)
        prefix = base_prefix(model)
        base = base_of(model, prefix)
        if base and not any(prefix + name in opened.tensors for name in base):
            opened = opened.with_base({name: value.clone() for name, value in base.items()})
        checkpoint = {**opened.content, 'state_dict': opened.tensors}  # hooks look for it there
        if self._resume and not {'meta', 'message_hub', 'optimizer'} <= checkpoint.keys():
            raise CheckpointError(f'{filename} holds no state of training to resume from')
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, buffer in scalars.items():
            if isinstance(buffer, dict):
                scalars[name] = HistoryBuffer(**buffer)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        with split_together(model):
            load_strictly(model, checkpoint['state_dict'], filename)
        if self.distributed:  # plain weights are split by each process on its own
            for tensor in model.state_dict().values():
                broadcast(tensor)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint
