"""Checkpoints of what is trainable, of which none is ever lost."""

from __future__ import annotations

import os
import re
from collections import deque
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...adapters.pretrained import base_hash, base_of
from ...io.files import atomic_path
from ...models.build import base_prefix, plain_model


@HOOKS.register_module()
class AdapterCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` without the pretrained weights in the files.

    A checkpoint holds adapter, head, average, optimizer, schedulers and log, and names the base
    with its hash; the base comes from the backbone's ``init_cfg`` again. If it cannot, since there
    is none or ``load_from`` has put other weights into their place, it is written too. Random
    numbers and position in the data follow from the seed and the iteration (``SeedHook``).

    An outdated checkpoint is removed after its successor is on the disk, not before. Arguments
    are those of ``CheckpointHook``, for local files.
    """

    _restored: str | None = None  # hash of the base as init_cfg makes it

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the base before the file's weights come in."""
        self._restored = _exact_hash(runner)

    def before_train(self, runner: Runner) -> None:
        """Decide what is written; remove what a killed run has left half written."""
        super().before_train(runner)
        count = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        if not self.by_epoch and self.interval > 0 and self.interval % count:
            runner.logger.warning(
                f'checkpoints every {self.interval} iterations lack gradients, since the optimizer '
                f'makes a step every {count}: a run resumed from one will differ from an '
                f'uninterrupted one; make the interval a multiple of {count}'
            )
        base = runner.card.base
        self._left_out = set()
        if base and base.file and self._restored in (None, _exact_hash(runner)):
            model, prefix = plain_model(runner.model), base.prefix
            self._left_out = {prefix + name for name in base_of(model, prefix)}
        elif base:
            runner.logger.info(
                'the pretrained weights are not those of an init_cfg: they are saved too'
            )
        if is_main_process():
            for file in Path(self.out_dir).glob('.*'):
                if re.fullmatch(r'\.(.+\.\d+\.pth|last_checkpoint\.\d+)', file.name):
                    file.unlink()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leave out the base."""
        for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
            for name in self._left_out:
                checkpoint.get(part, {}).pop(prefix + name, None)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0:
            steps = [*(old for old in self.keep_ckpt_ids if old != step), step]
            outdated = steps[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(steps[-self.max_keep_ckpts :])
            # The outdated are in it: if the run dies before they go, the next one removes them.
            runner.message_hub.update_info('keep_ckpt_ids', steps)
        filename = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            with atomic_path(Path(runner.work_dir) / 'last_checkpoint', flush=True) as file:
                file.write_text(self.last_ckpt)
            for old in outdated:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # mmengine removes the old one before it writes the new one.
        backend, self.file_backend = self.file_backend, _RemovesLater()
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            outdated, self.file_backend = self.file_backend.names, backend
        info = runner.message_hub.runtime_info
        present = {Path(value).name for name, value in info.items() if 'best_ckpt' in name}
        for name in outdated - present:  # in this folder, also if the run was copied
            Path(self.out_dir, name).unlink(missing_ok=True)


class _RemovesLater(LocalBackend):
    """A file backend that only notes what is to be removed."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def remove(self, filepath: str) -> None:
        self.names.add(Path(filepath).name)


def _exact_hash(runner: Runner) -> str:
    model = plain_model(runner.model)
    return base_hash(base_of(model, base_prefix(model)), exact=True)
