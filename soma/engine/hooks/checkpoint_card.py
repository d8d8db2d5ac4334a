"""The card of a training checkpoint, and its contents as plain data."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...adapters.card import Card
from ...adapters.describe import adapter_card, base_card
from ...io.checkpoint_files import pretrained_file
from ...models.build import base_prefix, plain_model


@HOOKS.register_module()
class CardHook(Hook):
    """Give a checkpoint its card (``meta['soma']``) and leave only tensors and plain data in it.

    It comes after all other hooks, which may still put something in. It is a hook of
    ``SomaRunner``, which makes the card once and reads such a file again.
    """

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the card, with the iteration; make log and meta plain."""
        meta = checkpoint['meta']
        meta['soma'] = {**runner.card.to_dict(), 'iteration': meta['iter']}
        checkpoint['meta'] = plain_data(meta)
        checkpoint['message_hub'] = plain_data(checkpoint['message_hub'])


class FormattedOnce(Config):
    """A config whose text is laid out once, not in each checkpoint.

    It takes long, and mmengine makes a ``SyntaxError`` of an interrupt in it.
    """

    pretty_text = cached_property(Config.pretty_text.fget)


def training_card(runner: Runner) -> Card:
    """Describe what a runner, with its weights loaded, trains; without the iteration."""
    model = plain_model(runner.model)
    prefix = base_prefix(model)
    card = replace(adapter_card(model), config=runner.cfg.pretty_text)
    backbone = model.get_submodule(prefix.rstrip('.'))
    # What a full fine-tuning happens to leave frozen is no base that others could put in its place.
    if card.method is not None or not any(p.requires_grad for p in backbone.parameters()):
        file = pretrained_file(getattr(backbone, 'init_cfg', None)) or ''
        card = replace(card, base=base_card(model, prefix, file))
    dataset = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    names = {n: [*dataset[n]] for n in ('classes', 'palette') if dataset.get(n) is not None}
    return replace(card, **names)


def plain_data(value):
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
        return {plain_data(name): plain_data(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        entries = map(plain_data, value)
        return [*entries] if isinstance(value, list) else (*entries,)
    known = isinstance(value, torch.Tensor | int | float | str | bytes | None)
    return value if known else str(value)
