"""Time and error of the split of ViT-L's weights, against a float32 SVD of one after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import main
from torch import nn

from soma.adapters import AdapterLayer, SoMALayer, inject_adapter, low_rank_product, split_layers

RANK = 16
SHAPES = {'qkv': (3072, 1024), 'proj': (1024, 1024), 'fc1': (4096, 1024), 'fc2': (1024, 4096)}


def make_layers(blocks: int, stacked: int = 3, **adapter) -> dict[str, AdapterLayer]:
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
    groups = {f'qkv_{i}': stacked for i in range(blocks)}
    config = {'type': 'SoMA', 'rank': RANK, **adapter}
    inject_adapter(model, {**config, 'targets': '.*', 'groups': groups}, split=False)
    return dict(model.items())


def by_svd(layers: dict[str, SoMALayer], dtype: torch.dtype) -> list[torch.Tensor]:
    """The minor part of each matrix, by the plain call."""
    parts = []
    for layer in layers.values():
        for matrix in layer.weight.detach().to(dtype).chunk(layer.groups):
            u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
            parts.append((u[:, -RANK:] * s[-RANK:]) @ vh[-RANK:])
    return parts


def minor_parts(layers: dict[str, SoMALayer]) -> list[torch.Tensor]:
    """The minor part of each matrix, as the layers hold it after the split."""
    products = [low_rank_product(m.A.detach(), m.B.detach(), m.groups) for m in layers.values()]
    return [
        part
        for layer, product in zip(layers.values(), products, strict=True)
        for part in product.chunk(layer.groups)
    ]


def measure(blocks: int = 16) -> list[dict]:
    """Measure each way.

    Args:
        blocks: Number of blocks of ViT-L, 6 matrices each; SoMA adapts 16.

    Returns:
        A row a way: its seconds, how many times faster than the plain way on all cores it is, and
        the largest relative error of a minor part of the first block, against a float64 SVD.
    """
    layers = make_layers(blocks)
    first = {name: layer for name, layer in layers.items() if name.endswith('_0')}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores, several make it many times slower
    start = time.perf_counter()
    by_svd(first, torch.float32)
    on_one_core = (time.perf_counter() - start) * blocks
    exact = by_svd(first, torch.float64)
    torch.set_num_threads(threads)

    def split(base: Path | None = None) -> list[torch.Tensor]:
        split_layers(layers, base)
        return minor_parts(first)

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / 'base.pth'
        ways: dict[str, Callable[[], list[torch.Tensor]]] = {
            'float32 SVD, one by one': lambda: by_svd(layers, torch.float32),
            'split': split,
            'split, first start: the file is written': lambda: split(base),
            'split, second start: from the file': lambda: split(base),
        }
        rows = []
        for name, way in ways.items():
            start = time.perf_counter()
            parts = way()
            seconds = time.perf_counter() - start
            errors = [
                ((part - true).norm() / true.norm()).item()
                for part, true in zip(parts, exact, strict=False)
            ]
            rows.append({'way': name, 'seconds': seconds, 'error': f'{max(errors):.1e}'})
    pivoted = make_layers(blocks, 1, type='RecycleLoRA', rank=RANK - 4)
    start = time.perf_counter()
    split_layers(pivoted)
    way = 'pivoted QR (RecycleLoRA), qkv as one matrix'
    rows.append({'way': way, 'seconds': time.perf_counter() - start, 'error': ''})
    name = 'the same on one core, from one block'
    rows.insert(1, {'way': name, 'seconds': on_one_core, 'error': ''})
    return [
        {
            'way': row['way'],
            'matrices': 6 * blocks,
            'seconds': round(row['seconds'], 2),
            'speed': round(rows[0]['seconds'] / row['seconds'], 2),
            'error': row['error'],
        }
        for row in rows
    ]


if __name__ == '__main__':
    main(measure, 'SVD split, ViT-L, rank 16')
