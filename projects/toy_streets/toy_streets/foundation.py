"""A toy foundation model: a small ViT that has seen streets in many styles.

It stands in for what self-supervision on the web gives a real DINOv2. Within minutes on a CPU only
supervision gets there, so it learns to name what is where in domain-randomised scenes; their seeds
are not those of any dataset that :func:`~toy_streets.write.write_toy_streets` writes.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from timm.layers import build_sincos2d_pos_embed
from torch import Tensor, nn

from soma.models import DINOv2
from soma.utils.parallel import run_parallel

from .layout import sample_scene
from .randomised import random_style
from .render import render

ARCH = dict(embed_dim=64, depth=6, num_heads=2)
PATCH, SIDE = 14, 224  # the public DINOv2 files have patches of 14 pixels
_CELLS = 4  # per patch and axis: how finely the labels are learned
_MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
_STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def pretrain_toy(
    images: int = 1000, steps: int = 1500, batch: int = 8, seed: int = 2026, nproc: int = 1
) -> dict[str, Tensor]:
    """Train the toy foundation model.

    Args:
        images: Number of scenes to render, twice as wide as the crops that are learned from.
        steps: Number of training steps.
        batch: Crops a step.
        seed: Seed of the scenes and of the training.
        nproc: Number of processes that render.

    Returns:
        The weights, under the names of the public DINOv2 files, for patches of 14 pixels.

    Raises:
        ValueError: If a number is not positive.
    """
    if min(images, steps, batch, nproc) < 1:
        raise ValueError('images, steps, batch and nproc must be positive')
    pool = run_parallel(partial(_render, seed), range(images), nproc, 'rendering scenes')
    images, labels = (np.stack(parts) for parts in zip(*pool, strict=True))
    counts = np.bincount(labels.ravel(), minlength=256)[:19]
    weights = np.sqrt(counts.sum() / np.maximum(counts, 1))
    weights = torch.tensor(np.minimum(weights / weights.mean(), 4), dtype=torch.float32)

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, head = _build()
    parameters = [p for p in model.parameters() if p.requires_grad] + list(head.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.05)
    warm_up = max(1, min(60, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda i: min(1, (i + 1) / warm_up) * (1 + math.cos(math.pi * i / steps)) / 2,
    )
    for _ in track(range(steps), 'pretraining'):
        image, target = _sample(images, labels, batch, rng)
        loss = F.cross_entropy(_logits(model, head, image), target, weights, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    # The public files hold a mask token, which only their pretraining used.
    return {**model.state_dict(), 'mask_token': torch.zeros(1, model.embed_dim)}


def _render(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene in a random style: image ``(224, 448, 3)`` and labels ``(224, 448)``."""
    rng = np.random.default_rng([seed, 0xF0, index])
    scene = sample_scene(rng)
    rendering = render(scene, random_style(rng), (2 * SIDE, SIDE), rng)
    return rendering.image, rendering.labels


def _build() -> tuple[DINOv2, nn.Linear]:
    """The network, and a head that classifies cells of each patch."""
    arch = {**ARCH, 'init_values': 1.0}
    model = DINOv2(arch, SIDE, PATCH, out_indices=[ARCH['depth'] - 1], pyramid=[1])
    grid = SIDE // PATCH
    with torch.no_grad():  # known positions save the network most of its learning
        model.pos_embed[0, 1:] = 0.5 * build_sincos2d_pos_embed([grid, grid], model.embed_dim)
    return model, nn.Linear(model.embed_dim, 19 * _CELLS**2)


def _sample(
    images: np.ndarray, labels: np.ndarray, batch: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Random crops, mirrored half of the time: images ``(n, 3, 224, 224)``, cells' labels."""
    crops = []
    for index in rng.integers(len(images), size=batch):
        columns = slice(start := rng.integers(SIDE + 1), start + SIDE)
        step = rng.choice([-1, 1])
        crops.append([a[index][:, columns][:, ::step] for a in (images, labels)])
    image, target = (
        torch.from_numpy(np.stack(parts).astype(np.float32)) for parts in zip(*crops, strict=True)
    )
    cells = SIDE // PATCH * _CELLS
    target = F.interpolate(target[:, None], size=(cells, cells), mode='nearest-exact')
    return (image.permute(0, 3, 1, 2) - _MEAN) / _STD, target[:, 0].long()


def _logits(model: DINOv2, head: nn.Linear, image: Tensor) -> Tensor:
    """Class scores of each cell, ``(n, 19, 64, 64)``."""
    features = model(image)[0].permute(0, 2, 3, 1)  # (n, h, w, dim)
    scores = head(features).unflatten(-1, (19, _CELLS, _CELLS))
    return scores.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)
