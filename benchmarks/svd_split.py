"""Time and error of the split of ViT-L's weights, against a float32 SVD of one after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import main
from torch import nn

from soma.adapters import SoMALayer, inject_adapter, low_rank_product, split_layers

RANK = 16
SHAPES = {'qkv': (3072, 1024), 'proj': (1024, 1024), 'fc1': (4096, 1024), 'fc2': (1024, 4096)}


def make_layers(blocks: int) -> dict[str, SoMALayer]:
    """The adapted layers of so many blocks of a ViT-L, not split yet."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            f'{name}_{i}': nn.Linear(*shape[::-1])
            for i in range(blocks)
            for name, shape in SHAPES.items()
        }
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    groups = {f'qkv_{i}': 3 for i in range(blocks)}
    inject_adapter(model, dict(type='SoMA', rank=RANK, targets='.*', groups=groups), split=False)
    return dict(model.items())


def by_svd(layers: dict[str, SoMALayer], dtype: torch.dtype) -> list[torch.Tensor]:
    """The minor part of each matrix, by the plain call."""
    parts = []
    for layer in layers.values():
        for matrix in layer.weight.detach().to(dtype).chunk(layer.groups):
            u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
            parts.append((u[:, -RANK:] * s[-RANK:]) @ vh[-RANK:])
    return parts


def by_adapter(layers: dict[str, SoMALayer]) -> list[torch.Tensor]:
    """The minor part of each matrix, as the layers hold it after the split."""
    split_layers(layers)
    products = [low_rank_product(m.A.detach(), m.B.detach(), m.groups) for m in layers.values()]
    return [
        part
        for layer, product in zip(layers.values(), products, strict=True)
        for part in product.chunk(layer.groups)
    ]


def measure(blocks: int = 2, repeats: int = 2) -> list[dict]:
    """Measure each way.

    Args:
        blocks: Number of blocks of ViT-L, 6 matrices each, that every way splits; ours then splits
            all 16 of SoMA's, too.
        repeats: How often each way is timed.

    Returns:
        A row a way: the seconds of the fastest run, how many times faster than the faster of the
        plain ways it is, and the largest relative error of a minor part, against a float64 SVD.
    """
    layers = make_layers(blocks)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores, several make it many times slower
    exact = by_svd(layers, torch.float64)
    torch.set_num_threads(threads)

    def on_one_core() -> list[torch.Tensor]:
        torch.set_num_threads(1)
        parts = by_svd(layers, torch.float32)
        torch.set_num_threads(threads)
        return parts

    ways: dict[str, Callable[[], list[torch.Tensor]]] = {
        'float32 SVD, one by one, on all cores': lambda: by_svd(layers, torch.float32),
        'float32 SVD, one by one, on one core': on_one_core,
        'split': lambda: by_adapter(layers),
    }
    seconds, errors = dict.fromkeys(ways, float('inf')), {}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            parts = way()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
            errors[name] = max(
                ((part - true).norm() / true.norm()).item()
                for part, true in zip(parts, exact, strict=True)
            )
    count, plain = len(exact), min(list(seconds.values())[:2])
    rows = [
        {
            'way': name,
            'matrices': count,
            'seconds': round(seconds[name], 2),
            'speed': round(plain / seconds[name], 2),
            'error': f'{errors[name]:.1e}',
        }
        for name in ways
    ]
    layers = make_layers(16)
    with tempfile.TemporaryDirectory() as folder:
        for name in ('split, first start', 'split, second start: from the cache'):
            start = time.perf_counter()
            split_layers(layers, Path(folder) / 'base.pth')
            took = round(time.perf_counter() - start, 2)
            rows.append({'way': name, 'matrices': 96, 'seconds': took, 'speed': '', 'error': ''})
    return rows


if __name__ == '__main__':
    main(measure, 'SVD split, ViT-L, rank 16')
