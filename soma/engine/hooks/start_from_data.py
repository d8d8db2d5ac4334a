"""The start of adapters that start from data."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...adapters.base import is_count
from ...adapters.from_data import start_from_data, waiting_layers
from ...io.files import InputError
from ...models.build import base_prefix, plain_model
from ..seeding import seed_start


@HOOKS.register_module()
class StartFromDataHook(Hook):
    """Start adapters that start from data with some of the training images, before the first step.

    The images are drawn, and augmented, by the seed of the run: the same on all processes. Training
    sees them as if they had not been read here. An adapter that has a start, from the checkpoint
    that a training goes on from, keeps it. It is a hook of ``SomaRunner``, which a config names to
    give it other arguments.

    Args:
        batches: How many batches, of the size of the training's.

    Raises:
        ValueError: If that is no number of batches.
    """

    priority = 'VERY_HIGH'

    def __init__(self, batches: int = 16) -> None:
        if not is_count(batches):
            raise ValueError(f'batches must be at least 1, and whole, got {batches!r}')
        self.batches = batches

    def before_train(self, runner: Runner) -> None:
        """Start what waits.

        Raises:
            InputError: If the images cannot be drawn, or a layer has no use for them.
        """
        model = plain_model(runner.model)
        if not waiting_layers(model):
            return
        loader = runner.train_dataloader
        if not hasattr(loader.dataset, '__len__'):
            raise InputError(
                f'train_dataloader: the images of a {type(loader.dataset).__name__} cannot be '
                'drawn to start the adapter from'
            )
        # A segmentor may put queries among the tokens of its backbone.
        backbone = model.get_submodule(base_prefix(model).rstrip('.'))
        run_backbone = getattr(model, 'extract_feat', backbone)
        seed_start(runner.seed)
        size = getattr(loader.batch_sampler, 'batch_size', 1)  # the loader may not tell
        order = torch.randperm(len(loader.dataset)).split(size)[: self.batches]

        def run() -> None:
            for indices in order:
                samples = [loader.dataset[int(index)] for index in indices]
                data = model.data_preprocessor(loader.collate_fn(samples), True)
                run_backbone(data['inputs'])

        count = start_from_data(model, run)
        if runner.distributed:  # whose last bits may differ
            for tensor in model.state_dict().values():
                broadcast(tensor)
        runner.logger.info(
            f'{count} layers start from {sum(map(len, order))} images of the training data'
        )
