"""What a training checkpoint says of itself."""

from __future__ import annotations

from mmengine.runner import Runner

from ..adapters import adapter_card, base_card
from ..io.checkpoint_files import pretrained_file
from ..models.build import base_prefix, plain_model
from ..utils.version import __version__


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
