"""Whole training step of SoMA with Mask2Former: ours and the plain way; what it grows with."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from common import (
    adamw_by_parameter,
    build,
    build_plain,
    main,
    plain_attention,
    read_config,
    streets,
    take_turns,
    updates_of,
)
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper

from soma.engine import TrainableEMAHook


def make_step(model: BaseModel, hook, optimizer: torch.optim.Optimizer, batch: int, size: int):
    """A function that trains for one step: losses, gradients, optimizer, average, log.

    It returns the seconds that its parts took.
    """
    images, samples = streets(batch, size)
    update_average = updates_of(hook, model)

    def step() -> dict[str, float]:
        times = [time.perf_counter()]

        def lap() -> None:
            times.append(time.perf_counter())

        maps = model.extract_feat(images)
        lap()
        losses = model.decode_head.loss(maps, samples, {})
        total, logs = model.parse_losses(losses)
        lap()
        total.backward()
        lap()
        optimizer.step()
        optimizer.zero_grad()
        update_average()
        torch.stack([value.detach().flatten()[0] for value in logs.values()]).tolist()
        lap()
        names = ('backbone', 'head and losses', 'backward', 'updates')
        laps = zip(names, itertools.pairwise(times), strict=True)
        return {name: end - start for name, (start, end) in laps}

    return step


def ours(config: Config, batch: int, size: int) -> Callable:
    """Our step."""
    model = build(config)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    return make_step(model, TrainableEMAHook(), optimizer, batch, size)


def plain(config: Config, batch: int, size: int) -> Callable:
    """The plain step: one optimizer group a parameter, an average of all weights."""
    model = build_plain(config)
    optimizer = adamw_by_parameter((p for p in model.parameters() if p.requires_grad), config)
    step = make_step(model, EMAHook(), optimizer, batch, size)

    def with_the_formula() -> dict[str, float]:
        with plain_attention():
            return step()

    return with_the_formula


def compare(arch: str, batch: int, size: int, repeats: int, **options) -> dict:
    """Time both ways; a row with seconds, their parts, and the ratio."""
    config = read_config(arch, **options)
    ways = {'plain': plain(config, batch, size), 'ours': ours(config, batch, size)}
    parts = {way: defaultdict(list) for way in ways}

    def noted(way: str) -> None:
        for name, seconds in ways[way]().items():
            parts[way][name].append(seconds)

    seconds = take_turns({way: lambda way=way: noted(way) for way in ways}, repeats)
    row = {
        'arch': arch,
        'batch': batch,
        'image': size,
        'adapted_from': config.model.backbone.adapter.start_block,
        'plain_s': round(seconds['plain'], 2),
        'ours_s': round(seconds['ours'], 2),
        'speed': round(seconds['plain'] / seconds['ours'], 2),
    }
    for way, times in parts.items():
        shares = [f'{sorted(values)[len(values) // 2]:.2f}' for values in times.values()]
        row[f'{way}: ' + ', '.join(times)] = ' / '.join(shares)
    return row


def measure(
    archs: tuple[str, ...] = ('B', 'L'),
    sizes: tuple[int, ...] = (256, 768),
    starts: tuple[int, ...] = (0, 8),
    repeats: int = 3,
) -> list[dict]:
    """Compare the whole step.

    Args:
        archs: Of DINOv2, at 512 pixels.
        sizes: Sides of images, for the first of them.
        starts: First adapted blocks, for the first of them.
        repeats: Rounds, twice as many for the archs.

    Returns:
        A row a setting, those of the archs first.
    """
    rows = [compare(archs[0], 1, size, repeats) for size in sizes]
    for start in starts:
        options = {'model.backbone.adapter.start_block': start}
        rows.append(compare(archs[0], 1, 512, repeats, **options))
    # Last: in a virtual machine, memory that nobody used before is slow at first.
    return [compare(arch, 1, 512, 2 * repeats) for arch in archs] + rows


if __name__ == '__main__':
    main(measure, 'Training step, float32')
