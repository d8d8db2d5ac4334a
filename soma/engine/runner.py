"""The runner: mmengine's, safe with checkpoints, exact when resumed, able to run on CPUs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from mmengine.logging import MMLogger
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.registry import RUNNERS
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from ..adapters.card import Card
from ..adapters.describe import check_adapter
from ..adapters.pretrained import base_of
from ..adapters.sharded import is_sharded
from ..adapters.split import split_together
from ..checkpoints.heads import choose_heads
from ..checkpoints.open import open_for_training
from ..io.checkpoint_files import load_strictly
from ..io.files import CheckpointError, InputError, atomic_path, check_folder
from ..models.build import base_prefix, check_widths, plain_model
from ..ops.install import install_attention
from ..utils.config_errors import naming_keys
from ..utils.machine import within_cores
from ..utils.noise import is_no_detail, is_not_noise
from ..utils.num_classes import write_num_classes
from ..utils.version import __version__
from .checks import check_config
from .distributed import leave_group_at_exit, unwrapped, without_device
from .hooks.check import CheckHook
from .hooks.checkpoint_card import CardHook, FormattedOnce, training_card
from .hooks.finite_loss import FiniteLossHook
from .hooks.missed_validation import MissedValidationHook
from .hooks.seed import SeedHook
from .hooks.shard import ShardHook
from .hooks.start_from_data import StartFromDataHook
from .hooks.training_only import without_training_hooks
from .lock import is_locked, locked
from .resume import newest_checkpoint, only_file, warn_of_earlier


@RUNNERS.register_module()
class SomaRunner(Runner):
    """mmengine's runner, made safe, exact and portable.

    It reads checkpoints with ``weights_only=True`` and without a fallback, whose names and shapes
    must be the model's, and writes them whole or not at all. ``CheckHook``, ``SeedHook``,
    ``FiniteLossHook``, ``StartFromDataHook``, ``CardHook`` and ``MissedValidationHook`` are always
    there. Without a GPU, several processes talk through gloo. What is wrong with a config is an
    ``InputError`` that names the key. One training at a time writes to a work dir.
    """

    checkpoint_name: str | None = None  # of the checkpoint that is being written

    def __init__(self, *args, **kwargs) -> None:
        install_attention()
        super().__init__(*args, **kwargs)
        object.__setattr__(self.cfg, '__class__', FormattedOnce)

    @classmethod
    def from_cfg(cls, cfg: Config | ConfigDict | dict) -> SomaRunner:
        """Check a config, then build the runner from it.

        Raises:
            InputError: If something is wrong with the config, or with its work dir.
        """
        write_num_classes(cfg)
        check_config(cfg)
        with naming_keys(cfg):
            check_folder(cfg['work_dir'])
            return super().from_cfg(cfg)

    def train(self) -> nn.Module:
        """Train, as mmengine does; the first error of building what it needs names its key.

        Raises:
            InputError: Or if nothing can be written to the work dir, or another training is there;
                if the config is that of a set of models.
        """
        if self.cfg.get('average') is not None:
            raise InputError('average: tools/train_average.py trains this set of models')
        with naming_keys(self.cfg), ExitStack() as self._folders:
            self.hold(self.work_dir)
            warn_of_earlier(self)
            return super().train()

    def hold(self, folder: str) -> None:
        """Let no other training write to a folder until this one ends.

        Raises:
            InputError: If there is another one, or nothing can be written there.
        """
        self._folders.enter_context(locked(folder))

    def val(self) -> dict:
        """Validate, as mmengine does; errors as in :meth:`train`."""
        with naming_keys(self.cfg), without_training_hooks(self):
            return super().val()

    def test(self) -> dict:
        """Test, as mmengine does; errors as in :meth:`train`."""
        with naming_keys(self.cfg), without_training_hooks(self):
            return super().test()

    def setup_env(self, env_cfg: dict) -> None:
        """Set up the environment, as mmengine does; mmengine's own set-up asks for a GPU."""
        if torch.cuda.is_available():
            return super().setup_env(env_cfg)
        env_cfg.setdefault('dist_cfg', {})['backend'] = 'gloo'
        with patch('torch.cuda.set_device'):
            super().setup_env(env_cfg)
        if self.distributed:
            leave_group_at_exit()

    def dump_config(self) -> None:
        """Write the config into the work dir, unless a training is there, which has its own."""
        if is_main_process() and not is_locked(self.work_dir):
            super().dump_config()

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build the logger, without noise, and on the console without details."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(is_not_noise)
        logger.handlers[0].addFilter(is_no_detail)  # the others are files
        return logger

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        """Build a data loader, as mmengine does, with at most a worker a core."""
        return Runner.build_dataloader(within_cores(dataloader), *args, **kwargs)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Check a model, and wrap it for several processes, on CPU without a device."""
        check_widths(model, self.cfg.get('model') or {})
        on_cpu = self.distributed and not torch.cuda.is_available()
        if on_cpu and self.cfg.get('sync_bn') is not None:  # PyTorch has it for GPUs only
            self.logger.warning('sync_bn needs GPUs: each process normalises its own images')
            self.cfg.sync_bn = None
        if self.distributed and self.cfg.get('strategy'):
            return unwrapped(model, self.cfg.get('sync_bn'))
        if on_cpu:
            model_wrapper_cfg = without_device(model_wrapper_cfg)
        return super().wrap_model(model_wrapper_cfg, model)

    def register_hooks(self, *args, **kwargs) -> None:
        """Register the hooks of all runs (:mod:`soma.engine.hooks`) around those of the config."""
        for hook in (CheckHook(), SeedHook(), FiniteLossHook()):
            self.register_hook(hook)
        super().register_hooks(*args, **kwargs)
        if self.cfg.get('strategy'):
            self.register_hook(ShardHook())
        for hook in (StartFromDataHook(), CardHook(), MissedValidationHook()):
            self.register_hook(hook)

    def get_hooks_info(self) -> str:
        """Name the hooks in their order, for the log; it is the same at each moment."""
        return ', '.join(f'{type(hook).__name__} ({hook.priority})' for hook in self.hooks)

    def _log_env(self, env_cfg: dict) -> None:
        """Log what a run depends on, and where its whole config is; mmengine logs all of it."""
        names = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmdet')
        versions = {'soma': __version__, 'Python': platform.python_version()}
        versions |= {name: sys.modules[name].__version__ for name in names if name in sys.modules}
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
        file = Path(self.work_dir, Path(self.cfg.filename or f'{self.timestamp}.py').name)
        self.logger.info(
            f'{", ".join(f"{name} {version}" for name, version in versions.items())}; '
            f'{self.world_size} x {device}, seed {self.seed}; the whole config is in {file}'
        )

    @cached_property
    def card(self) -> Card:
        """The card of the checkpoints of this run, without the iteration."""
        return training_card(self)  # the base does not change in training

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        *,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a checkpoint under a temporary name, flush it to disk, then rename it.

        Args:
            out_dir: Local folder.
            filename: Its name there.
            file_client_args: None; other storage has no such renaming.
            backend_args: None, as ``file_client_args``.
            **kwargs: What is written, as in the parent class.

        Raises:
            ValueError: If it is to be written elsewhere than to local files.
            LossError: If the weights are NaN or infinite.
        """
        if file_client_args or backend_args or '://' in str(out_dir):
            raise ValueError(
                f'checkpoints are written to local files only, not to {out_dir} by '
                f'{file_client_args or backend_args}'
            )
        is_main = is_main_process()
        if not is_main and not any(map(is_sharded, self.model.parameters())):
            return
        file = atomic_path(Path(out_dir) / filename, flush=True) if is_main else None
        self.checkpoint_name = filename
        try:
            with file or nullcontext(Path(os.devnull)) as path:
                Runner.save_checkpoint.__wrapped__(self, str(path.parent), path.name, **kwargs)
        finally:
            self.checkpoint_name = None

    def load_or_resume(self) -> None:
        """Load or resume as the config says.

        With ``resume='auto'``, or without a file to resume from, the newest checkpoint of the work
        dir that is whole is taken; if there is none, ``load_from`` is where training starts.
        """
        if self._resume == 'auto' or (self._resume and self._load_from is None):
            newest = [newest_checkpoint(self.work_dir) if is_main_process() else None]
            broadcast_object_list(newest)
            self._resume = newest[0] is not None
            if self._resume:
                self._load_from = newest[0]
            else:
                self.logger.info(f'no checkpoint in {self.work_dir}: training starts anew')
        if self._load_from is not None:
            self._load_from = only_file(self._load_from, self._resume)
        super().load_or_resume()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device = 'cpu',
        revise_keys: Sequence[tuple[str, str]] = (),
    ) -> dict:
        """Load a checkpoint of any kind into the model; names and shapes must be the model's.

        A file without pretrained weights, as ``AdapterCheckpointHook`` and the extraction write it,
        goes onto those that the model has. A training that starts from it keeps the heads of its
        own if the config says ``load_heads=False``.

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
        opened = open_for_training(filename, map_location, revise_keys)
        model = plain_model(self.model)
        check_adapter(model, opened.card, filename)
        prefix = base_prefix(model)
        base = {prefix + name: value for name, value in base_of(model, prefix).items()}
        if base and base.keys().isdisjoint(opened.tensors):
            # Copies, since loading into adapted layers splits what comes in.
            opened = opened.with_weights({name: value.clone() for name, value in base.items()})
        tensors = opened.tensors
        if not self._resume and isinstance(self._train_loop, BaseLoop):
            data = getattr(self.train_dataloader.dataset, 'metainfo', None) or {}
            load = self.cfg.get('load_heads', True)
            tensors = choose_heads(model, opened, load, data.get('classes'))
        checkpoint = {**opened.content, 'state_dict': tensors}  # hooks look for it there
        model.loaded_card = opened.card
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
