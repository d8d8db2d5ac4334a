"""What a training checkpoint says of itself."""

from __future__ import annotations

from dataclasses import replace

from mmengine.runner import Runner

from ..adapters.card import Card
from ..adapters.describe import adapter_card, base_card
from ..io.checkpoint_files import pretrained_file
from ..models.build import base_prefix, plain_model


def training_card(runner: Runner) -> Card:
    """Describe what a runner trains, but for the iteration.

    Args:
        runner: With its weights loaded, since the hash of the base is taken.
    """
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
