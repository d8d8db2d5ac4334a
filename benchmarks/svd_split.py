"""Time and error of the split of ViT-L's weights, against a float32 SVD of one after the other.

Random weights. The repetitions alternate, the fastest counts. On idle cores it takes half a minute.

Usage: ``python benchmarks/svd_split.py [--blocks 1] [--repeats 2] [--json FILE]``
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from soma.adapters import SoMALayer, inject_adapter, low_rank_product, split_layers
from soma.files import write_json

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


def by_adapter(layers: dict[str, SoMALayer], base: Path | None = None) -> list[torch.Tensor]:
    """The minor part of each matrix, as the layers hold it after the split."""
    split_layers(layers, base)
    products = [low_rank_product(m.A.detach(), m.B.detach(), m.groups) for m in layers.values()]
    return [
        part
        for layer, product in zip(layers.values(), products, strict=True)
        for part in product.chunk(layer.groups)
    ]


def measure(blocks: int, repeats: int) -> list[dict]:
    """Measure each way.

    Args:
        blocks: Number of blocks of ViT-L, 6 matrices each.
        repeats: How often each way is timed.

    Returns:
        For each way its name, the seconds of the fastest run, how many times faster than the first
        way it is, and the largest relative error of a minor part, against a float64 SVD.
    """
    layers = make_layers(blocks)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on busy cores, several make it many times slower
    exact = by_svd(layers, torch.float64)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / 'base.pth'
        by_adapter(layers, base)
        ways: dict[str, Callable[[], list[torch.Tensor]]] = {
            'float32 SVD, one by one': lambda: by_svd(layers, torch.float32),
            'split': lambda: by_adapter(layers),
            'split, from the cache': lambda: by_adapter(layers, base),
        }
        seconds = dict.fromkeys(ways, float('inf'))
        errors = {}
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                parts = way()
                seconds[name] = min(seconds[name], time.perf_counter() - start)
                errors[name] = max(
                    ((part - true).norm() / true.norm()).item()
                    for part, true in zip(parts, exact, strict=True)
                )
    first = next(iter(seconds.values()))
    return [
        {
            'way': name,
            'matrices': len(exact),
            'seconds': seconds[name],
            'times faster': first / seconds[name],
            'error': errors[name],
        }
        for name in ways
    ]


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--blocks', type=int, default=2, help='of ViT-L, 6 matrices each')
    parser.add_argument('--repeats', type=int, default=2)
    parser.add_argument('--json', type=Path, help='file for the numbers')
    args = parser.parse_args()
    rows = measure(args.blocks, args.repeats)
    title = (
        f'{rows[0]["matrices"]} matrices of ViT-L, rank {RANK}, {torch.get_num_threads()} threads'
    )
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f'{v:.3g}' if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    if args.json:
        write_json({'rows': rows, 'threads': torch.get_num_threads()}, args.json)


if __name__ == '__main__':
    main()
