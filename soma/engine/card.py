"""What a training checkpoint says of itself."""

from __future__ import annotations

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from ..adapters import adapter_card, base_card
from ..files import pretrained_file
from ..version import __version__


def plain_model(model: nn.Module) -> nn.Module:
    """The model itself, without wrappers for several processes or test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def base_prefix(model: nn.Module) -> str:
    """Where the frozen base stands in a model: in its backbone, if it has one."""
    return 'backbone.' if hasattr(model, 'backbone') else ''


def training_card(runner: Runner) -> dict:
    """Describe what a runner trains; the keys are those of docs/checkpoints.md, but the iteration.

    Args:
        runner: With its weights loaded, since the hash of the base is taken.

    Returns:
        Plain data.
    """
    model = plain_model(runner.model)
    prefix = base_prefix(model)
    card = {'soma_version': __version__, **adapter_card(model), 'config': runner.cfg.pretty_text}
    backbone = model.get_submodule(prefix.rstrip('.'))
    # What a full fine-tuning happens to leave frozen is no base that others could put in its place.
    if card['method'] or not any(p.requires_grad for p in backbone.parameters()):
        file = pretrained_file(getattr(backbone, 'init_cfg', None))
        card['base'] = {**base_card(model, prefix), 'file': file or ''}
    dataset = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    for name in ('classes', 'palette'):
        if dataset.get(name) is not None:
            card[name] = [*dataset[name]]
    return card
