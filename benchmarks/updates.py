"""Step of the optimizer, and update of the average, of ViT-L with Mask2Former."""

from __future__ import annotations

import copy

import torch
from common import adamw_by_parameter, build, main, read_config, take_turns, updates_of
from mmengine.hooks import EMAHook
from mmengine.optim import build_optim_wrapper
from torch import nn

from soma.engine import TrainableEMAHook


def _with_gradients(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    return model


def _bytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(arch: str = 'L', repeats: int = 9) -> list[dict]:
    """Time both against the plain way.

    Args:
        arch: Of DINOv2.
        repeats: Rounds.

    Returns:
        A row for the optimizer and one for the average.
    """
    config = read_config(arch)
    model = _with_gradients(build(config))
    trainable = [p for p in model.parameters() if p.requires_grad]
    ours = build_optim_wrapper(model, config.optim_wrapper).optimizer
    copies = [copy.deepcopy(parameter) for parameter in trainable]
    for copied, parameter in zip(copies, trainable, strict=True):
        copied.grad = parameter.grad.clone()
    plain = adamw_by_parameter(copies, config)
    # A step reads parameter, gradient and two moments, and writes all but the gradient.
    moved = 7 * _bytes(trainable)
    source = torch.randn(moved // 8)
    target = torch.empty_like(source)
    steps = {
        'ours': ours.step,
        'plain': plain.step,
        'copy': lambda: target.copy_(source),  # reads half of the bytes, writes the other
    }
    seconds = take_turns(steps, repeats)
    rows = [
        {
            'what': f'AdamW, {sum(p.numel() for p in trainable) / 1e6:.1f} M parameters',
            'plain': f'{len(plain.param_groups)} groups',
            'plain_ms': round(1e3 * seconds['plain'], 1),
            'ours_ms': round(1e3 * seconds['ours'], 1),
            'speed': round(seconds['plain'] / seconds['ours'], 2),
            'to_moving_its_bytes': round(seconds['ours'] / seconds['copy'], 2),
            'memory_ratio': '',
        }
    ]
    lean_hook, plain_hook = TrainableEMAHook(), EMAHook()
    seconds = take_turns(
        {'ours': updates_of(lean_hook, model), 'plain': updates_of(plain_hook, model)}, repeats
    )
    whole = _bytes(plain_hook.ema_model.state_dict().values())
    rows.append(
        {
            'what': 'average of the weights',
            'plain': "mmengine's EMAHook",
            'plain_ms': round(1e3 * seconds['plain'], 1),
            'ours_ms': round(1e3 * seconds['ours'], 1),
            'speed': round(seconds['plain'] / seconds['ours'], 2),
            'to_moving_its_bytes': '',
            'memory_ratio': round(whole / _bytes(lean_hook.average.values()), 1),
        }
    )
    return rows


if __name__ == '__main__':
    main(measure, 'Optimizer and average, ViT-L with Mask2Former')
