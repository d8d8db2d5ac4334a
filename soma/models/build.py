"""Build the model of a config."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import NamedTuple

from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ..adapters.base import parse_adapter
from ..io.checkpoint_files import pretrained_file, pretrained_prefix
from ..io.files import InputError
from ..ops.install import install_attention
from ..utils.config import load_config, test_dataset
from ..utils.config_errors import naming_keys


class LeftOut(NamedTuple):
    """What :func:`use_plain_model` has taken out of a config.

    Attributes:
        pretrained: The file of pretrained weights that the backbone would have loaded.
        method: The ``type`` of its adapter.
        prefix: What the names of the backbone start with in the file, if the config says it.
        data: The first dataset that the config tests on, if it names one.
    """

    pretrained: str | None = None
    method: str | None = None
    prefix: str = ''
    data: Mapping | None = None


def use_plain_model(config: Config) -> LeftOut:
    """Take the adapter and the loading of pretrained weights out of a config, for testing.

    An adapter that cannot be folded into the weights stays.

    Args:
        config: Changed in place.

    Returns:
        What :func:`~soma.checkpoints.load_plain` wants to know of it.

    Raises:
        ValueError: If the adapter is none.
    """
    config.load_from, config.resume = None, False
    config.pop('load_heads', None)
    backbone = config.model.get('backbone', {})
    adapter = backbone.get('adapter')
    adapter = None if adapter is None else parse_adapter(adapter)
    if folds := adapter is None or adapter.folds:
        backbone.pop('adapter', None)
    if backbone.get('type') == 'AdaptedBackbone':
        inner = backbone.backbone
        if folds:
            config.model.backbone = inner
        backbone = inner
    backbone.pop('base_dtype', None)
    source = backbone.pop('init_cfg', None)
    method, prefix = adapter and adapter.method, pretrained_prefix(source)
    return LeftOut(pretrained_file(source), method, prefix, test_dataset(config) or None)


def build_model(config: Config) -> nn.Module:
    """Build the model of a config, segmentor or detector, in the config's ``default_scope``.

    Args:
        config: Left as it is. Without a scope, its model is taken for one of mmseg's.

    Returns:
        The model with random weights, ready to predict.

    Raises:
        InputError: If it cannot be built; the message names the key of the config.
    """
    install_attention()
    init_default_scope(config.get('default_scope', 'mmseg'))
    with naming_keys(config):
        # DINO writes into the config that it is given.
        return MODELS.build(copy.deepcopy(config.model)).eval()


def build_backbone(path: str | os.PathLike) -> tuple[nn.Module, LeftOut]:
    """Build the backbone of a config without its weights, in a model that has nothing else.

    Args:
        path: The config file.

    Returns:
        A module with the attribute ``backbone``, and what was left out of the config.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: As for :func:`build_model`; if the config has no ``model.backbone``.
    """
    config = load_config(path)
    if 'backbone' not in config.get('model', {}):
        raise InputError(f'{path} has no model.backbone')
    left_out = use_plain_model(config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    with naming_keys(config):
        backbone = MODELS.build(copy.deepcopy(config.model.backbone))
    return nn.ModuleDict({'backbone': backbone}), left_out


def check_widths(model: nn.Module, config: Mapping) -> None:
    """Check that the first part behind a backbone of timm takes maps of its widths.

    Args:
        model: With a ``backbone`` that tells the ``widths`` of its maps; others pass.
        config: Its config.

    Raises:
        InputError: If neck or head takes others; the message names the key.
    """
    widths = getattr(getattr(model, 'backbone', None), 'widths', None)
    part = next((name for name in ('neck', 'decode_head') if config.get(name)), None)
    if not widths or not isinstance(config.get(part), Mapping):
        return
    given, index = (config[part].get(name) for name in ('in_channels', 'in_index'))
    if isinstance(given, list | tuple):
        index, given = range(len(widths)) if index is None else index, list(given)
        expected = [widths[i] for i in index if i < len(widths)]
    else:
        index = -1 if index is None else index
        expected = widths[index] if index in range(-1, len(widths)) else None
    if None not in (given, expected) and given != expected:
        raise InputError(
            f'model.{part}.in_channels must be {expected}, as wide as the maps of the backbone '
            f'{model.backbone.arch}, got {given}'
        )


def plain_model(model: nn.Module) -> nn.Module:
    """The model itself, without wrappers for several processes or test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def base_prefix(model: nn.Module) -> str:
    """Where the frozen base stands in a model: in its backbone, if it has one."""
    return 'backbone.' if hasattr(model, 'backbone') else ''
