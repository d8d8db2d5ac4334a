"""The runner: mmengine's, safe with checkpoints and able to run several processes on CPU."""

from __future__ import annotations

import atexit
import gc
import re
import sys

import numpy as np
import torch
from mmengine.dist import broadcast
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from ..files import read_checkpoint, state_dict_of


def _plain(value):
    """Numpy's values as Python's, and history buffers as the arguments that make them again."""
    if isinstance(value, HistoryBuffer):
        history, counts = (array.tolist() for array in value.data)
        return {'log_history': history, 'count_history': counts, 'max_length': value.max_length}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _leave_group() -> None:
    """End gloo's threads; one that still drops a tensor when Python ends aborts the process."""
    failed = hasattr(sys, 'last_value')  # then the others may never answer
    if torch.distributed.is_initialized() and not failed:
        torch.distributed.destroy_process_group()
        gc.collect()  # the wrapped model holds the group too


@RUNNERS.register_module()
class SomaRunner(Runner):
    """mmengine's runner, made safe and portable.

    It reads checkpoints with ``weights_only=True`` and without a fallback, ``*.safetensors`` too.
    Without a GPU, several processes talk through gloo.
    """

    _strict = False  # whether a checkpoint must have exactly the keys of the model

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

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """Call the hooks; what they leave of a checkpoint is written as tensors and plain data."""
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['message_hub'] = _plain(kwargs['checkpoint']['message_hub'])

    def test(self) -> dict[str, float]:
        """Test, with every key of the checkpoint the model's and the reverse.

        Returns:
            The metrics.

        Raises:
            RuntimeError: If the checkpoint is not of this config.
        """
        self._strict = True
        return super().test()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device = 'cpu',
        strict: bool = False,
        revise_keys: list = [(r'^module\.', '')],  # noqa: B006, as in mmengine
    ) -> dict:
        """Load a checkpoint into the model.

        Args:
            filename: Local file.
            map_location: Device of the tensors.
            strict: Whether every key must match.
            revise_keys: Pairs of a regular expression and a replacement, applied to the keys.

        Returns:
            What the file holds.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or holds more than tensors and plain data.
        """
        if re.match(r'\w+://', filename):
            raise ValueError(f'{filename} is no local file: download it first')
        checkpoint = read_checkpoint(filename, map_location)
        if 'state_dict' not in checkpoint:  # hooks look for it
            checkpoint = {'state_dict': state_dict_of(checkpoint, filename)}
        if isinstance(meta := checkpoint.get('meta'), dict):
            meta.pop('config', None)  # mmengine's resume would run this text as Python
        scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
        for name, buffer in scalars.items():
            if isinstance(buffer, dict):
                scalars[name] = HistoryBuffer(**buffer)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        strict = strict or self._resume or self._strict
        _load_checkpoint_to_model(model, checkpoint, strict, revise_keys=revise_keys)
        if self.distributed:  # plain weights are split by each process on its own
            for tensor in model.state_dict().values():
                broadcast(tensor)
        self._has_loaded = True
        self.logger.info(f'Load checkpoint from {filename}')
        return checkpoint
