"""Compiled blocks."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...adapters.blocks import number_blocks
from ...io.files import InputError
from ...models.build import plain_model

_LIMIT = 64


@HOOKS.register_module()
class CompileBlocksHook(Hook):
    """Compile the blocks of the backbone, in training and in tests (``torch.compile``).

    Blocks that are alike share what is compiled: the first step takes as long as two or three
    blocks need, and not the depth of the network. Names, checkpoints and results are what they are
    without; heads and losses, whose shapes change from image to image, are not compiled.

    Args:
        **options: Of ``torch.compile``, such as ``mode='max-autotune-no-cudagraphs'``.
    """

    priority = 'VERY_LOW'  # after those that change layers

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_run(self, runner: Runner) -> None:
        """Compile; it happens when a block is called for the first time.

        Raises:
            InputError: If there is no backbone with blocks.
        """
        from torch._dynamo import config as limits  # which takes its time

        backbone = getattr(plain_model(runner.model), 'backbone', None)
        names = [] if backbone is None else [*number_blocks(backbone)]
        if not names:
            raise InputError('CompileBlocksHook: the model has no backbone with blocks to compile')
        for name in names:
            backbone.get_submodule(name).compile(**self.options)
        # Plain and adapted blocks, with and without gradients, in the forward pass and where it is
        # repeated (with_cp), of one size and of any: each is a graph. Beyond 8, PyTorch would leave
        # blocks as they are, and fail where one is repeated that was compiled.
        name = 'recompile_limit' if hasattr(limits, 'recompile_limit') else 'cache_size_limit'
        setattr(limits, name, max(getattr(limits, name), _LIMIT))
        runner.logger.info(f'{len(names)} blocks are compiled when they are called first')
