"""Hierarchical networks of timm as plain backbones, for ``AdaptedBackbone`` or as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...adapters.base import is_count
from ...adapters.inject import adapter_state
from ...io.checkpoint_files import load_strictly, pretrained_file, pretrained_prefix
from ...io.public import find_weights
from .timm_maps import TimmMaps
from .timm_network import HEADS, become, create_network, freeze_statistics, give_memory
from .vit_options import check_choice, check_pretrained


@MODELS.register_module()
class TimmPyramid(TimmMaps, BaseModule):
    """A network of timm that returns the maps of its stages, such as strides 4, 8, 16 and 32.

    ConvNeXt (of DINOv3, too), Swin, Hiera of SAM 2 and the others of timm. It computes with timm's
    ``forward_intermediates``, and parameters have timm's names.

    Args:
        model_name: As for ``timm.create_model``, such as ``'convnext_large'``.
        out_indices: The stages; all by default.
        with_cp: Recompute the blocks in the backward pass, to save memory.
        frozen: Freeze all of it.
        model_args: Further options of ``timm.create_model``.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)``, optionally with the ``prefix`` of
            the backbone's keys. The file is timm's or an official one of the family.

    Raises:
        ValueError: If an option is unknown or out of range.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] | None = None,
        with_cp: bool = False,
        frozen: bool = False,
        model_args: Mapping | None = None,
        init_cfg: Mapping | None = None,
    ) -> None:
        super().__init__()
        model_args = dict(model_args or {})
        try:
            check_choice('with_cp', with_cp, (True, False))
            check_choice('frozen', frozen, (True, False))
            if init_cfg is not None:
                check_pretrained(init_cfg)
            network = create_network(model_name, model_args, on_meta=init_cfg is not None)
            stages = len(network.feature_info)
            out_indices = range(stages) if out_indices is None else out_indices
            known = isinstance(out_indices, Sequence) and all(is_count(i, 0) for i in out_indices)
            if not known or not out_indices or not sorted({*out_indices}) == list(out_indices):
                raise ValueError(f'out_indices must ascend, got {out_indices!r}')
            if out_indices[-1] >= stages:
                raise ValueError(f'out_indices must be below {stages}, got {out_indices!r}')
            become(self, network, with_cp)
        except ValueError as error:
            raise ValueError(f'TimmPyramid: {error}') from error
        self.init_cfg, self._is_init = init_cfg and dict(init_cfg), False
        self.arch, self.timm_options = model_name, model_args
        self.out_indices, self.frozen = tuple(out_indices), frozen
        self.stride = max(info['reduction'] for info in self.feature_info)
        for name in self.frozen_names():
            self.get_parameter(name).requires_grad_(False)
        give_memory(self, torch.float32)

    def init_weights(self) -> None:
        """Load the pretrained weights.

        Raises:
            FileNotFoundError: If the file of ``init_cfg`` does not exist.
            CheckpointError: If it does not fit.
        """
        if self.is_init:
            return
        if (path := pretrained_file(self.init_cfg)) is not None:
            path = find_weights(path)
            state = self.read_pretrained(path, pretrained_prefix(self.init_cfg))
            # What stands beside adapted layers (tokens) is in no file of pretrained weights.
            load_strictly(self, adapter_state(self, in_layers=False) | state, path)
        self._is_init = True

    def frozen_names(self) -> set[str]:
        """Names of the parameters that must stay frozen: all, or those that no map depends on."""
        return {n for n, _ in self.named_parameters()} if self.frozen else self.unused_names()

    def unused_names(self) -> set[str]:
        """Names of the parameters that no map depends on: of the head, and of later stages."""
        names = [name for name, _ in self.named_parameters()]
        unused = {name for name in names if name.partition('.')[0] in HEADS}
        if (last := self.out_indices[-1]) == len(self.feature_info) - 1:
            return unused
        stage = f'{self.feature_info[last]["module"]}.'
        ends = [index for index, name in enumerate(names, 1) if name.startswith(stage)]
        return unused.union(names[ends[-1] :] if ends else ())

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; batch normalisation stays in eval mode if all is frozen."""
        super().train(mode)
        if self.frozen:
            freeze_statistics(self)
        return self

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the maps of the stages.

        Args:
            image: Shape ``(n, 3, H, W)``, normalised. If H or W is no multiple of the largest
                stride, the image is enlarged to the next one.

        Returns:
            One map for each of ``out_indices``, of shape ``(n, dim, H / stride, W / stride)``.
        """
        return tuple(self.compute_maps(image))
