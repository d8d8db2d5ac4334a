"""Training step of the linear layers of a block: SoMA, frozen layers, plain low-rank paths."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from common import TwoPathLinear, TwoPathQKV, kept_bytes, main, take_turns
from torch import nn

from soma.adapters import SoMALinear

WIDTHS = {'S': 384, 'B': 768, 'L': 1024}


def _layers(width: int) -> dict[str, nn.Linear]:
    return {
        'qkv': nn.Linear(width, 3 * width),
        'proj': nn.Linear(width, width),
        'fc1': nn.Linear(width, 4 * width),
        'fc2': nn.Linear(4 * width, width),
    }


def _frozen(name: str, layer: nn.Linear, rank: int) -> nn.Module:
    return layer.requires_grad_(False)


def _two_path(name: str, layer: nn.Linear, rank: int) -> nn.Module:
    return (TwoPathQKV if name == 'qkv' else TwoPathLinear)(layer, rank)


def _soma(name: str, layer: nn.Linear, rank: int) -> nn.Module:
    layer = SoMALinear.from_plain(layer, rank, groups=3 if name == 'qkv' else 1)
    for parameter in (layer.A, layer.B):
        nn.init.normal_(parameter, std=0.02)  # as after some training
    return layer


WAYS = {'frozen': _frozen, 'two_path': _two_path, 'soma': _soma}


def _step(layers: dict[str, nn.Module], num: int, tokens: int, autocast: bool) -> Callable:
    """Forward and backward of each layer, with the gradient of its input."""
    inputs, grads = {}, {}
    for name, layer in layers.items():
        plain = getattr(layer, 'layer', layer)
        inputs[name] = torch.randn(num, tokens, plain.in_features, requires_grad=True)
        grads[name] = torch.randn(num, tokens, plain.out_features)

    def step() -> None:
        for name, layer in layers.items():
            with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
                y = layer(inputs[name])
            y.backward(grads[name].to(y.dtype))
            inputs[name].grad = None
            for parameter in layer.parameters():
                parameter.grad = None

    return step


def _kept(layers: dict[str, nn.Module], num: int, tokens: int, autocast: bool) -> float:
    """Megabytes that the layers keep for the backward pass, beside their parameters."""
    modules = layers.values()
    weights = [x for layer in modules for x in (*layer.parameters(), *layer.buffers())]
    outputs = []
    with kept_bytes(weights) as kept, torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        for layer in modules:
            plain = getattr(layer, 'layer', layer)
            outputs.append(layer(torch.randn(num, tokens, plain.in_features, requires_grad=True)))
    return sum(kept.values()) / 1e6


def measure(
    archs: tuple[str, ...] = ('S', 'B', 'L'),
    sizes: tuple[tuple[int, int], ...] = ((1, 256), (1, 1024), (1, 4096), (8, 1024)),
    ranks: tuple[int, ...] = (4, 16, 64, 256),
    repeats: int = 3,
) -> list[dict]:
    """Time the four layers of one block together.

    Args:
        archs: Of DINOv2.
        sizes: Images and tokens of each.
        ranks: Also measured, on the base arch with 1,024 tokens.
        repeats: Rounds.

    Returns:
        A row a setting: milliseconds of the frozen layers, and ratios.
    """
    settings = [
        (arch, num, tokens, 16, autocast)
        for autocast in (False, True)
        for arch in archs
        for num, tokens in sizes
        if not (autocast and num * tokens > 4096)
    ]
    settings += [('B', 1, 1024, rank, False) for rank in ranks if rank != 16]
    rows = []
    for arch, num, tokens, rank, autocast in settings:
        made = {
            way: {name: make(name, layer, rank) for name, layer in _layers(WIDTHS[arch]).items()}
            for way, make in WAYS.items()
        }
        steps = {way: _step(layers, num, tokens, autocast) for way, layers in made.items()}
        rounds = max(repeats, math.ceil(repeats * 4096 / (num * tokens)))
        seconds = take_turns(steps, rounds)
        kept = {way: _kept(layers, num, tokens, autocast) for way, layers in made.items()}
        rows.append(
            {
                'arch': arch,
                'batch': num,
                'tokens': tokens,
                'rank': rank,
                'precision': 'bfloat16' if autocast else 'float32',
                'frozen_ms': round(1e3 * seconds['frozen'], 1),
                'soma_to_frozen': round(seconds['soma'] / seconds['frozen'], 3),
                'two_path_to_frozen': round(seconds['two_path'] / seconds['frozen'], 3),
                'soma_to_two_path': round(seconds['soma'] / seconds['two_path'], 3),
                'kept_to_two_path': round(kept['soma'] / kept['two_path'], 3),
            }
        )
    return rows


if __name__ == '__main__':
    main(measure, 'The four linear layers of a block, forward and backward')
