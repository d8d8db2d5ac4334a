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

from ...adapters.card import Card, is_valid
from ...adapters.describe import adapter_card, base_card, grid_of
from ...io.checkpoint_files import pretrained_file, pretrained_prefix
from ...io.public import local_file
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
        for schedulers in _lists(checkpoint.get('param_schedulers', [])):
            # A schedule keeps its functions when it is loaded.
            schedulers[:] = [{n: v for n, v in s.items() if not callable(v)} for s in schedulers]


class FormattedOnce(Config):
    """A config whose text is laid out once, not in each checkpoint.

    It takes long, and mmengine makes a ``SyntaxError`` of an interrupt in it.
    """

    pretty_text = cached_property(Config.pretty_text.fget)


def _lists(schedulers: list[dict] | dict[str, list[dict]]) -> list[list[dict]]:
    """The states of schedules: one list, or of several optimizers one each."""
    return [*schedulers.values()] if isinstance(schedulers, dict) else [schedulers]


def training_card(runner: Runner) -> Card:
    """Describe what a runner, with its weights loaded, trains; without the iteration."""
    model = plain_model(runner.model)
    prefix = base_prefix(model)
    card = replace(adapter_card(model), config=runner.cfg.pretty_text)
    backbone = model.get_submodule(prefix.rstrip('.'))
    # What a full fine-tuning happens to leave frozen is no base that others could put in its place.
    if card.method is not None or not any(p.requires_grad for p in backbone.parameters()):
        init_cfg = getattr(backbone, 'init_cfg', None)
        base = base_card(model, prefix, local_file(pretrained_file(init_cfg) or ''))
        card = replace(card, base=replace(base, file_prefix=pretrained_prefix(init_cfg)))
    else:
        card = replace(card, positions=grid_of(model, prefix))
    dataset = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    names = {n: plain_data(dataset.get(n)) for n in ('classes', 'palette', 'episode_classes')}
    valid = {name: value for name, value in names.items() if is_valid(name, value)}
    for name in names.keys() - valid.keys():
        if names[name] is not None:
            runner.logger.warning(
                f'checkpoints will not name the {name} of the data: {ascii(names[name])[:60]} '
                'cannot stand on a card'
            )
    return replace(card, **valid)


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
