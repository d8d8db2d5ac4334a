"""Training step of a layer with each adapter, beside other ways; peft comes with `make dev`."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from common import kept_bytes, main, take_turns
from peft import LoraConfig, get_peft_model
from torch import nn

from soma.adapters import ADAPTERS, LayerConfig, decompose_matrix, inject_adapter, start_from_data

WIDTH, RANK = 1024, 16
# What peft has; its MiCA is newer than the oldest version that the tests run with.
PEFT = {'LoRA': {}, 'DoRA': {'use_dora': True}, 'PiSSA': {}, 'MiLoRA': {}, 'SoMA': {}}


class ThreeStepSVF(nn.Module):
    """SVF as it is published: ``U``, ``S`` and ``V`` one after the other in the place of ``W``."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        parts = decompose_matrix(layer.weight)
        self.register_buffer('U', parts.U)
        self.register_buffer('V', parts.V)
        self.S, self.bias = nn.Parameter(parts.S), layer.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return (x @ self.V.T * self.S) @ self.U.T + self.bias


def _ours(layer: nn.Linear, kind: str) -> nn.Module:
    model = nn.Sequential(copy.deepcopy(layer))
    config = ADAPTERS[kind]
    ranks = {'rank': RANK - getattr(config, 'sub_rank', 0)}  # the same in all
    inject_adapter(model, config(targets='0', **(ranks if config.low_rank else {})))
    start_from_data(model, [torch.randn(2 * WIDTH, WIDTH)])  # those that need it
    return model


def _theirs(layer: nn.Linear, kind: str) -> nn.Module | None:
    layer = copy.deepcopy(layer)
    if kind == 'SVF':
        return ThreeStepSVF(layer)
    if kind not in PEFT:
        return None
    options = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=['0'], **PEFT[kind])
    return get_peft_model(nn.Sequential(layer), options)


def _step(model: nn.Module, tokens: int) -> Callable[[], None]:
    """Forward and backward, with the gradient of the input."""
    x = torch.randn(1, tokens, WIDTH, requires_grad=True)
    grad = torch.randn(1, tokens, WIDTH)

    def step() -> None:
        model(x).backward(grad)
        x.grad = None
        model.zero_grad()

    return step


def _kept(model: nn.Module, tokens: int) -> float:
    """Megabytes that are kept for the backward pass, beside the model's own tensors."""
    with kept_bytes([*model.parameters(), *model.buffers()]) as kept:
        output = model(torch.randn(1, tokens, WIDTH, requires_grad=True))
    return sum(kept.values()) / 1e6 if output.requires_grad else 0.0


def measure(token_counts: tuple[int, ...] = (1024, 4096), repeats: int = 15) -> list[dict]:
    """Time a linear layer of 1024 x 1024.

    Args:
        token_counts: Tokens of a step.
        repeats: Rounds.

    Returns:
        A row an adapter and count: milliseconds of the frozen layer, and ratios.
    """
    rows = []
    kinds = [name for name, config in ADAPTERS.items() if issubclass(config, LayerConfig)]
    for tokens in token_counts:
        layer = nn.Linear(WIDTH, WIDTH)
        ways = {'frozen': copy.deepcopy(layer).requires_grad_(False)}
        for kind in kinds:
            ways |= {kind: _ours(layer, kind), f'other {kind}': _theirs(layer, kind)}
        ways = {name: model for name, model in ways.items() if model is not None}
        seconds = take_turns({name: _step(m, tokens) for name, m in ways.items()}, repeats)
        kept = {name: _kept(model, tokens) for name, model in ways.items()}
        for kind in kinds:
            other = f'other {kind}'
            rows.append(
                {
                    'adapter': kind,
                    'tokens': tokens,
                    'frozen_ms': round(1e3 * seconds['frozen'], 1),
                    'to_frozen': round(seconds[kind] / seconds['frozen'], 2),
                    'to_soma': round(seconds[kind] / seconds['SoMA'], 2),
                    'to_other': round(seconds[kind] / seconds[other], 2) if other in ways else '',
                    'kept_MB': round(kept[kind], 1),
                    'kept_to_other': round(kept[kind] / kept[other], 2) if other in ways else '',
                }
            )
    return rows


if __name__ == '__main__':
    main(measure, "A linear layer with each adapter; other: peft's, of SVF three steps")
