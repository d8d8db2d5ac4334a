"""Weights of adapted layers that other code reads instead of calling the layer."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from mmengine.model.efficient_conv_bn_eval import efficient_conv_bn_eval_forward
from torch import nn
from torch.utils.checkpoint import checkpoint

from soma.adapters import inject_adapter, merge_adapter

CONFIG = dict(type='SoMA', rank=1, targets='.*fc')


def apply(layer, x):
    return F.linear(x, layer.weight, layer.bias)


class Reader(nn.Module):
    """Reads the weight of its layer, as a subclass says."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return apply(self.fc, x)


class Local(Reader):
    def forward(self, x):
        fc = self.fc
        return x @ fc.weight.T + fc.bias


class Loop(Reader):
    def forward(self, x):
        weights = [getattr(layer, name) for layer in self.children() for name in ('weight',)]
        return F.linear(x, *weights, self.fc.bias)


class Inherited(Local):
    def forward(self, x):
        return super().forward(x)


class Called(Reader):
    def forward(self, x):
        return self.fc(x.to(self.fc.weight.dtype))


class Kernel(Reader):
    """As mmengine's ``efficient_conv_bn_eval`` does."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4).eval()

    def forward(self, x):
        return efficient_conv_bn_eval_forward(self.norm, self.fc, x[..., None, None]).flatten(1)


@pytest.mark.parametrize('method', ['SoMA', 'DoRA'])
@pytest.mark.parametrize('kind', [Reader, Local, Loop, Inherited, Called, Kernel])
def test_the_reader_gets_the_adapted_weight(kind, method):
    torch.manual_seed(0)
    plain, x = kind().requires_grad_(False), torch.randn(3, 4)
    model = nn.Sequential(copy.deepcopy(plain))
    inject_adapter(model, {**CONFIG, 'type': method})
    torch.testing.assert_close(model(x), plain(x), rtol=1e-6, atol=1e-6)
    layer = model[0].fc
    layer.A.data += 1
    layer.B.data += 1
    model = copy.deepcopy(model)
    layer = model[0].fc
    checkpoint(model, x, use_reentrant=False).square().sum().backward()
    assert layer.A.grad.any() and layer.B.grad.any()
    assert torch.equal(layer.weight, plain.fc.weight)  # at rest
    after = model(x)
    assert (after - plain(x)).abs().max() > 0.5
    merge_adapter(model)
    torch.testing.assert_close(model(x), after, rtol=1e-5, atol=1e-5)
    assert not model._forward_hooks and not model[0]._forward_pre_hooks


class Fails(Reader):
    def forward(self, x):
        self.change = self.fc.delta()
        raise RuntimeError('stop')


def test_the_pretrained_weight_is_read_after_an_error_and_in_other_threads():
    model = Fails()
    inject_adapter(model, CONFIG)
    model.fc.A.data += 1
    weight = model.state_dict()['fc.weight']
    with pytest.raises(RuntimeError, match='stop'):
        model(torch.ones(1, 4))
    assert torch.equal(model.fc.weight, weight)
    assert torch.equal(model.change, model.fc.delta()) and model.change.any()

    read = []

    def forward():
        thread = threading.Thread(target=lambda: read.append(model.fc.weight))
        thread.start()
        thread.join()
        return model.fc.weight

    model.forward = forward
    assert not torch.equal(model(), weight) and torch.equal(read[0], weight)
