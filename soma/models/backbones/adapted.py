"""Any backbone of OpenMMLab with an adapter in it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from ...adapters.base import Adapter
from ...adapters.inject import adapter_names, adapter_state, inject_adapter
from ...adapters.layer import AdapterLayer
from ...adapters.layer_config import PLAIN
from ...adapters.split import split_layers, split_together
from ...io.checkpoint_files import CheckpointError, pretrained_file
from ...io.public import find_weights
from .timm_network import freeze_statistics, join

if find_spec('mmcv') is not None:
    from mmcv.cnn import Conv2d, Linear  # PyTorch's, but for empty inputs

    PLAIN.update({Linear: nn.Linear, Conv2d: nn.Conv2d})


@MODELS.register_module('AdaptedBackbone')
def adapted_backbone(backbone: Mapping, adapter: Mapping, split_cache: bool = True) -> nn.Module:
    r"""Build a backbone of mmdet, mmseg or mmpretrain, whose layers an adapter replaces.

    It stays what it is, with the names that its parameters have; ``A``, ``B``, ``A0`` and ``B0``
    come beside the weights that are adapted. All but the adapter is frozen, and batch
    normalisation stays in eval mode. ``init_weights()`` lets the backbone load its pretrained
    weights, then splits them::

        backbone=dict(
            type='AdaptedBackbone',
            backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Pretrained', ...)),
            adapter=dict(type='SoMA', rank=16, targets=r'layer4\.\d+\.conv\d'),
        )

    Args:
        backbone: Config of the plain backbone. The file of its ``init_cfg`` must have all of its
            weights; what else is there, such as a classifier, is left out.
        adapter: Adapter config, as for :func:`~soma.adapters.inject_adapter`.
        split_cache: Keep the split in a file beside that of ``init_cfg``, so that only the first
            start computes it.

    Returns:
        The backbone.

    Raises:
        ValueError: If the adapter does not fit the backbone, the backbone freezes layers that are
            adapted (``frozen_stages``), or is none of OpenMMLab's.
    """
    if not isinstance(backbone, Mapping) or 'type' not in backbone:
        raise ValueError(f'AdaptedBackbone: backbone must be a dict with a type, got {backbone!r}')
    model = MODELS.build(backbone)
    plain = type(model)
    if not isinstance(model, BaseModule):
        raise ValueError(
            f'AdaptedBackbone: {plain.__name__} is no module of mmengine; DINOv2 takes an adapter '
            'of its own, backbone=dict(type="DINOv2", adapter=dict(...))'
        )
    inject_adapter(model, adapter, split=False)
    model.__class__ = join(f'Adapted{plain.__name__}', _Adapted, *getattr(plain, 'joined', [plain]))
    model.split_cache = split_cache
    model.train()  # backbones freeze their first stages in it
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    if wrong := sorted(adapter_names(model) & frozen):
        raise ValueError(
            f'AdaptedBackbone: {plain.__name__} freezes what is adapted: {wrong[:3]} '
            f'({len(wrong)}); lower its frozen_stages or leave these layers out of the targets'
        )
    for name in model.frozen_names():
        model.get_parameter(name).requires_grad_(False)
    return model


class _Adapted:
    """What an adapted backbone does beyond the plain one, whose class comes after this one."""

    def init_weights(self) -> None:
        """Let the backbone load its pretrained weights, then split the adapted ones.

        Raises:
            FileNotFoundError: If the file of ``init_cfg`` does not exist.
            CheckpointError: If it is an address, lacks weights of the backbone, or has them in
                another shape.
        """
        if self.is_init:
            return
        path = pretrained_file(self.init_cfg)
        if path is None:
            super().init_weights()
            print_log(
                f'{type(self).__name__} has no pretrained weights: it splits random ones. Unless '
                'load_from follows, give the inner backbone '
                'init_cfg=dict(type="Pretrained", checkpoint=...)',
                logger='current',
                level=logging.WARNING,
            )
            split_layers({n: m for n, m in self.named_modules() if isinstance(m, AdapterLayer)})
            for module in self.modules():
                if isinstance(module, Adapter) and not isinstance(module, AdapterLayer):
                    module.reset_parameters()  # its layers the backbone takes for its own
            return
        if '://' in path:  # an adapter's pretrained weights are read again, to test and to merge
            raise CheckpointError(f'{path} is no local file: download it first')
        path = find_weights(path)
        # mmengine only warns of what a file lacks, and backbones have loaders of their own.
        loaded = {}
        note = self._register_load_state_dict_pre_hook(
            lambda state, *_: loaded.update({name: v.shape for name, v in state.items()})
        )
        with split_together(self, path if self.split_cache else None):
            with note:
                try:
                    super().init_weights()
                except FileNotFoundError as error:
                    hint = 'download it first (docs/user_guides/weights.md)'
                    raise FileNotFoundError(f'{error}: {hint}') from error
            shapes = self._pretrained_shapes()
            missing = [name for name, shape in shapes.items() if loaded.get(name) != shape]
            if missing:
                raise CheckpointError(
                    f'{path} does not fit {type(self).__name__}: missing or of another shape: '
                    f'{", ".join(missing[:3])} ({len(missing)})'
                )

    def _pretrained_shapes(self) -> dict:
        """Shapes of what a pretrained file must have, by name: all but adapters and counters."""
        in_adapter = adapter_state(self)
        return {
            name: value.shape
            for name, value in self.state_dict().items()
            if value.is_floating_point() and name not in in_adapter
        }

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; batch normalisation stays in eval mode, since it is frozen."""
        super().train(mode)
        freeze_statistics(self)
        return self

    def frozen_names(self) -> set[str]:
        """Names of the parameters that must stay frozen: all but what of the adapter is used."""
        unused = self.unused_names() if hasattr(self, 'unused_names') else set()
        return {name for name, _ in self.named_parameters()} - (adapter_names(self) - unused)
