"""Deformable attention of Mask2Former's pixel decoder: ours and mmcv's formula."""

from __future__ import annotations

from collections.abc import Callable

import torch
from common import kept_bytes, main, take_turns
from torch import Tensor

from soma.ops.ms_deform_attn import ms_deform_attn


def measure(
    sizes: tuple[tuple[int, int], ...] = ((1, 512), (4, 512), (1, 1024)), repeats: int = 3
) -> list[dict]:
    """Time one layer on maps of strides 8, 16 and 32, with 8 heads of 32 channels and 4 points.

    Args:
        sizes: Images, and their side in pixels.
        repeats: Rounds.

    Returns:
        A row a setting: milliseconds of the formula, ratios, and the largest difference.
    """
    rows = []
    for num, size in sizes:
        torch.manual_seed(0)
        shapes = torch.tensor([[size // stride] * 2 for stride in (32, 16, 8)])
        queries = int(shapes.prod(1).sum())
        value = torch.randn(num, queries, 8, 32, requires_grad=True)
        locations = torch.rand(num, queries, 8, 3, 4, 2, requires_grad=True)
        weights = torch.randn(num, queries, 8, 12).softmax(-1).unflatten(-1, (3, 4))
        inputs = [value, locations, weights.requires_grad_()]
        grad = torch.randn(num, queries, 256)
        ways = {'formula': ms_deform_attn.__wrapped__, 'ours': ms_deform_attn}

        def forward(way: Callable, shapes=shapes, inputs=inputs) -> Tensor:
            return way(inputs[0], shapes, *inputs[1:])

        def both(way: Callable, inputs=inputs, grad=grad, forward=forward) -> None:
            torch.autograd.grad(forward(way), inputs, grad)

        with torch.no_grad():
            test = take_turns({n: lambda w=w: forward(w) for n, w in ways.items()}, repeats)
            difference = (forward(ways['ours']) - forward(ways['formula'])).abs().max()
        train = take_turns({n: lambda w=w: both(w) for n, w in ways.items()}, repeats)
        kept = {}
        for name, way in ways.items():
            with kept_bytes(inputs) as bytes_kept:
                forward(way)
            kept[name] = sum(bytes_kept.values()) / 1e6
        rows.append(
            {
                'batch': num,
                'image': size,
                'queries': queries,
                'formula_forward_ms': round(1e3 * test['formula'], 1),
                'forward_speed': round(test['formula'] / test['ours'], 2),
                'forward_backward_speed': round(train['formula'] / train['ours'], 2),
                'formula_kept_mb': round(kept['formula']),
                'ours_kept_mb': round(kept['ours']),
                'largest_difference': float(f'{difference:.0e}'),
            }
        )
    return rows


if __name__ == '__main__':
    main(measure, 'Deformable attention, float32')
