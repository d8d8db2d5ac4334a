"""Parameters and multiply-adds of the parts of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from soma.io.files import InputError
from soma.models.build import build_model, use_plain_model
from soma.utils.tables import as_text


class Cost(NamedTuple):
    """What a part of a model costs.

    Attributes:
        parameters: Number of its parameters.
        operations: Multiply-adds for one image, of matrix products, convolutions and attention.
    """

    parameters: int
    operations: int


def count_cost(config: Config, shape: Sequence[int] | None = None) -> tuple[dict, tuple[int, int]]:
    """Run a plain model of random weights once, and count.

    Args:
        config: Of a segmentor or a detector; changed in place.
        shape: Height and width of the image, or one number for both; if None, what the config
            tests at once, or else pads its images to.

    Returns:
        By part (backbone, neck, head, total) its :class:`Cost`, and height and width.

    Raises:
        InputError: If the config does not say the size, the model is none of them or cannot run at
            this size.
    """
    height, width = size = _size(config, shape)
    use_plain_model(config)
    model = build_model(config)
    image = torch.rand(1, 3, height, width)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size, batch_input_shape=size)
    names = [
        name for name in ('backbone', 'neck') if isinstance(getattr(model, name, None), nn.Module)
    ]
    operations = dict.fromkeys(names, 0)
    # With gradients: without, PyTorch takes kernels for attention that nothing counts.
    with _counter() as counter:
        for name in names:
            _count_calls(model.get_submodule(name), name, counter, operations)
        try:
            _run(model, image, meta)
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).strip().partition('\n')[0]
            raise InputError(
                f'no image of {height} x {width} pixels goes through: {reason}'
            ) from error
    costs = {name: Cost(_parameters(model.get_submodule(name)), operations[name]) for name in names}
    total = Cost(_parameters(model), counter.get_total_flops() // 2)
    head = [t - sum(part) for t, part in zip(total, zip(*costs.values(), strict=True), strict=True)]
    return {**costs, 'head': Cost(*head), 'total': total}, size


def cost_table(costs: dict[str, Cost], size: tuple[int, int]) -> str:
    """Draw what :func:`count_cost` returned."""
    table = Table(title=f'one image of {size[0]} x {size[1]} pixels')
    table.add_column('part')
    for name in ('parameters, M', 'multiply-adds, G'):
        table.add_column(name, justify='right')
    for name, cost in costs.items():
        table.add_row(name, *(f'{value:,.3f}' for value in (cost[0] / 1e6, cost[1] / 1e9)))
    return as_text(table)


def _size(config: Config, shape: Sequence[int] | None) -> tuple[int, int]:
    if shape is not None and (len(shape) > 2 or min(shape) < 1):
        raise InputError(
            f'--shape is one or two numbers of pixels, got {" ".join(map(str, shape))}'
        )
    test = config.model.get('test_cfg') or {}
    shape = (
        shape or test.get('crop_size') or (config.model.get('data_preprocessor') or {}).get('size')
    )
    if shape is None:
        raise InputError('the config does not say how large images are: give --shape HEIGHT WIDTH')
    return int(shape[0]), int(shape[-1])


def _counter() -> FlopCounterMode:
    """A counter that knows attention on CPUs, too."""
    operator = getattr(torch.ops.aten, '_scaled_dot_product_flash_attention_for_cpu', None)
    return FlopCounterMode(display=False, custom_mapping={operator: _attention} if operator else {})


def _attention(query: Tensor, key: Tensor, value: Tensor, *args, **kwargs) -> int:
    """Operations of attention, a multiplication and an addition each."""
    return 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


_attention._get_raw = True  # it gets tensors, not shapes


def _count_calls(part: nn.Module, name: str, counter: FlopCounterMode, operations: dict) -> None:
    """Have each call of a part, or of modules in it from elsewhere, add what it costs."""
    running = []

    def before(module: nn.Module, *_) -> None:
        if not running:
            operations[name] -= counter.get_total_flops() // 2
        running.append(module)

    def after(*_) -> None:
        running.pop()
        if not running:
            operations[name] += counter.get_total_flops() // 2

    for module in part.modules():
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)


def _run(model: nn.Module, image: Tensor, meta: dict) -> None:
    if hasattr(model, 'encode_decode'):
        model.encode_decode(image, [meta])
    else:
        sample = DetDataSample(metainfo={**meta, 'scale_factor': (1.0, 1.0)})
        model(image, [sample], mode='tensor')


def _parameters(part: nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())
