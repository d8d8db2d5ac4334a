"""The operators of soma.ops against mmcv's compiled ones: largest difference, and speed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from unittest.mock import patch

from common import main  # isort: skip  # first: soma is to be in place when mmcv.ops is imported
import torch
from mmcv import ops
from torch import Tensor
from torch.utils.benchmark import Timer

from soma.ops import extension
from soma.ops.install import COMPILED_MODULE

Case = tuple[Callable[..., Tensor], list[Tensor]]


def cases(device: str, size: int = 64) -> dict[str, Case]:
    """A call of each operator, by the name of mmcv's module, with what it gets.

    Args:
        device: Where the inputs are.
        size: Height and width of the maps.
    """
    torch.manual_seed(0)
    corners = torch.rand(1000, 2) * size
    boxes = torch.cat([corners, corners + 1 + torch.rand(1000, 2) * size / 4], 1).to(device)
    rois = torch.cat([torch.zeros(len(boxes), 1, device=device), boxes], 1)
    image = torch.randn(2, 64, size, size, device=device)
    weight = torch.randn(64, 64, 3, 3, device=device)
    offset = torch.randn(2, 18, size, size, device=device)
    shapes = torch.tensor([[size, size], [size // 2, size // 2]], device=device)
    starts = torch.tensor([0, size**2], device=device)
    value = torch.randn(2, size**2 * 5 // 4, 8, 32, device=device)
    points = (2, value.shape[1], 8, 2, 4)
    locations = torch.rand(*points, 2, device=device)
    attention = torch.rand(*points, device=device)
    labels = torch.randint(0, 9, (len(boxes),), device=device)

    def attend(value: Tensor, locations: Tensor, attention: Tensor) -> Tensor:
        function = ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
        return function.apply(value, shapes, starts, locations, attention, 64)

    return {
        'nms': (
            lambda boxes, scores: ops.nms(boxes, scores, 0.5)[0],
            [boxes, torch.rand(len(boxes), device=device)],
        ),
        'roi_align': (lambda x: ops.roi_align(x, rois, 7, 1.0, 2, 'avg', True), [image]),
        'focal_loss': (
            lambda x: ops.sigmoid_focal_loss(x, labels, 2.0, 0.25, None, 'sum'),
            [torch.randn(len(boxes), 8, device=device)],
        ),
        'deform_conv': (
            lambda x, o, w: ops.deform_conv2d(x, o, w, 1, 1),
            [image, offset, weight],
        ),
        'modulated_deform_conv': (
            lambda x, o, m, w: ops.modulated_deform_conv2d(x, o, m, w, None, 1, 1),
            [image, offset, torch.rand(2, 9, size, size, device=device), weight],
        ),
        'multi_scale_deform_attn': (attend, [value, locations, attention]),
    }


def measure(device: str = 'cuda' if torch.cuda.is_available() else 'cpu') -> list[dict]:
    """Run each operator forward and, where it has gradients, backward, both ways.

    Returns:
        A row an operator; none where mmcv has no compiled module. An operator of mmcv's that does
        not run on the device has a row that says so.
    """
    compiled = sys.modules[COMPILED_MODULE]
    if compiled is extension:
        return []
    return [
        {'operator': name, 'device': device, **_compare(name, case, compiled)}
        for name, case in cases(device).items()
    ]


def _compare(name: str, case: Case, compiled) -> dict:
    function, inputs = case
    if name != 'nms':
        inputs = [x.requires_grad_() for x in inputs]

    def run() -> list[Tensor]:
        output = function(*inputs)
        if not output.requires_grad:
            return [output]
        return [output.detach(), *torch.autograd.grad(output.square().sum(), inputs)]

    # By its full name: the attribute mmcv.ops.nms is the function.
    wrapper = importlib.import_module(f'mmcv.ops.{name}')
    outputs, seconds = {}, {}
    for way, module in (('compiled', compiled), ('ours', extension)):
        with patch.object(wrapper, 'ext_module', module):
            try:
                outputs[way] = run()
            except (RuntimeError, NotImplementedError) as error:
                return {'not_run': f'{way}: {str(error).splitlines()[0]}'}
            timer = Timer('run()', globals=dict(run=run))
            seconds[way] = timer.blocked_autorange(min_run_time=0.2).median
    pairs = zip(outputs['compiled'], outputs['ours'], strict=True)
    differences = [
        (a - b).abs().max() / a.abs().max().clamp(min=1e-12)
        if a.shape == b.shape
        else torch.tensor(torch.inf, device=a.device)
        for a, b in pairs
    ]
    difference = float(torch.stack(differences).max())  # NaN if there is one
    return {
        'compiled_ms': round(1e3 * seconds['compiled'], 3),
        'ours_ms': round(1e3 * seconds['ours'], 3),
        'speed': round(seconds['compiled'] / seconds['ours'], 2),
        'largest_relative_difference': float(f'{difference:.0e}'),
    }


if __name__ == '__main__':
    main(measure, "Operators against mmcv's compiled ones")
