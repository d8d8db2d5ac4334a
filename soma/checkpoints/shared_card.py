"""What of a checkpoint others may see: no path of the machine that it was trained on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from ..adapters.card import Card, read_card
from ..utils.config_text import shared_config
from ..utils.shared_config import backbones
from .model_use import public_name

_SEPARATOR = re.compile(r'[/\\]')
_NAMES = ('classes', 'episode_classes', 'targets', 'names')  # which may have a slash


def shared_card(card: Card, source: str | os.PathLike) -> Card:
    """Make a card that names files without their folders, and of the config what predicts.

    Args:
        card: Of a checkpoint.
        source: The checkpoint, for messages.

    Raises:
        InputError: If the config has what would not be read again by others.
    """
    card = read_card(_without_folders(card.to_dict()), source)
    text = card.config and shared_text(card.config, str(source), public_name(card.base))
    return replace(card, config=text)


def shared_text(text: str, source: str, public: str | None) -> str:
    """The text of what others need of a config to predict.

    Model, pipelines, scope and imports stay (:func:`~soma.utils.shared_config.prediction_config`);
    data, training and work dir go. The file of the pretrained weights is called by the name that
    they are ``public`` under, or else ``checkpoints/<name>``, where this package keeps them.
    """
    config = shared_config(text, source)
    for backbone in backbones(config.model):
        base = backbone.get('init_cfg') or {}
        if file := base.get('checkpoint'):
            name = _SEPARATOR.split(file)[-1]
            is_file = name.endswith(('.pth', '.pt', '.safetensors', '.bin'))
            known = not is_file and (name == file or file == f'timm/{name}')  # not by its place
            base['checkpoint'] = file if known else f'checkpoints/{name}'
            if public and 'prefix' not in base:
                base['checkpoint'] = public
    return config.pretty_text


def _without_folders(node: object, key: str = '') -> object:
    if isinstance(node, Mapping):
        return {name: _without_folders(value, name) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_folders(value, key) for value in node]
    if isinstance(node, str) and key != 'config':
        local = key not in _NAMES or re.match(r'[/\\~]|\w:\\', node)
        return _SEPARATOR.split(node)[-1] if local else node
    return node
