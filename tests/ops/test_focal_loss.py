import math

import numpy as np
import pytest
import torch
from mmcv.ops import sigmoid_focal_loss

TARGET = torch.tensor([0, 2, 3, 1, 3])  # class 3 of 3 is background


def reference(logits, target, gamma, alpha, weight):
    loss = np.zeros(logits.shape)
    for n, row in enumerate(logits.tolist()):
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x))
            if target[n] == c:
                loss[n, c] = -alpha * (1 - p) ** gamma * math.log(p)
            else:
                loss[n, c] = -(1 - alpha) * p**gamma * math.log(1 - p)
            if weight is not None and target[n] < len(weight):
                loss[n, c] *= weight[target[n]]
    return torch.from_numpy(loss)


@pytest.fixture(params=[None, [0.5, 2.0, 3.0]], ids=['unweighted', 'weighted'])
def weight(request, device):
    if request.param is None:
        return None
    return torch.tensor(request.param, dtype=torch.float64, device=device)


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_against_the_definition(device, gamma, alpha, weight, reduction):
    logits = 3 * torch.randn(5, 3, dtype=torch.float64)
    loss = sigmoid_focal_loss(logits.to(device), TARGET.to(device), gamma, alpha, weight, reduction)
    expected = reference(logits, TARGET, gamma, alpha, weight)
    if reduction != 'none':
        expected = expected.sum() / (len(logits) if reduction == 'mean' else 1)
    torch.testing.assert_close(loss.cpu(), expected)


@pytest.mark.parametrize('gamma', [0.0, 2.0])
def test_gradient(device, gamma, weight):
    logits = torch.randn(5, 3, dtype=torch.float64, device=device, requires_grad=True)
    target = TARGET.to(device)
    torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, target, gamma, 0.25, weight, 'none'), logits
    )


def test_half_precision(assert_close_in_half, device):
    target = TARGET.to(device)
    assert_close_in_half(
        lambda x: sigmoid_focal_loss(x, target, 2.0, 0.25, None, 'none'), 3 * torch.randn(5, 3)
    )


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0, 0]), 2.0, 0.25, None, 'sum')
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0.25 * 200 + 0.75 * 200)
    torch.testing.assert_close(grad, torch.tensor([[0.0, 0.0], [-0.25, 0.75]]))
