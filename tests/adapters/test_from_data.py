"""The start from a few batches: what is summed up, who needs it, and what waits for it."""

import copy
import pickle

import pytest
import torch
from torch import nn

from soma.adapters import (
    AdapterLayer,
    inject_adapter,
    save_adapter,
    split_layers,
    start_from_data,
)
from soma.io.files import InputError

CONFIG = dict(type='CorDA', rank=2, targets='[01]')


class Net(nn.Sequential):
    """A convolution and a linear layer."""

    def __init__(self):
        super().__init__(nn.Conv2d(2, 6, 3, 2, 1), nn.Linear(6, 4))

    def forward(self, x, scale=1.0):
        return self[1](scale * self[0](x).permute(0, 2, 3, 1)).sum()


@pytest.fixture
def seen(monkeypatch):
    """The covariances that layers start from."""
    values = []

    def split(layers):
        values.extend(layer.covariance for layer in layers.values())
        split_layers(layers)

    monkeypatch.setattr('soma.adapters.from_data.split_layers', split)
    return values


def second_moment(x):
    return (x.T @ x / len(x)).double()


@pytest.mark.parametrize('way', ['tensors', 'dicts', 'tuples', 'function', 'autocast'])
def test_the_mean_over_all_inputs_of_all_batches(seen, way):
    net = Net()
    images = [torch.randn(n, 2, 9, 7) for n in (2, 3)]
    windows = [nn.functional.unfold(x, 3, 1, 1, 2).transpose(1, 2).flatten(0, 1) for x in images]
    inner = [net[0](x).permute(0, 2, 3, 1).flatten(0, 2) for x in images]
    inject_adapter(net, CONFIG)
    net.train()
    net[1].eval()
    ways = {
        'tensors': images,
        'dicts': [{'x': x, 'scale': 2.0} for x in images],
        'tuples': [(x, 2.0) for x in images],
        'function': lambda: [net(x) for x in images],
        'autocast': iter(images),
    }
    with torch.autocast('cpu', torch.bfloat16, enabled=way == 'autocast'):
        assert start_from_data(net, ways[way]) == 2
        assert start_from_data(net, ways[way]) == 0  # they have one
    scale = 4 if way in ('dicts', 'tuples') else 1
    expected = [second_moment(torch.cat(windows)), scale * second_moment(torch.cat(inner))]
    tolerance = 1e-2 if way == 'autocast' else 1e-5
    for value, covariance in zip(expected, seen, strict=True):
        assert covariance.dtype == torch.float64
        assert torch.allclose(covariance, value, atol=tolerance)
    assert [m.training for m in net.modules()] == [True, True, False]
    assert all(m.covariance is None for m in net.children())


def test_without_a_start_it_computes_and_does_not_train(caplog):
    plain, x = Net(), torch.randn(2, 2, 9, 7)
    net = copy.deepcopy(plain)
    inject_adapter(net, CONFIG)
    assert 'CorDA starts from data: call soma.adapters.start_from_data(' in caplog.text
    assert torch.equal(net.eval()(x), plain(x))
    with pytest.raises(InputError, match=r'^adapter: CorDA starts from data: call .*Hook$'):
        net.train()(x)
    start_from_data(net, [x])
    for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), plain(x))
    # other pretrained weights have another start, and an average of files has one without A0
    trained = {n: 0 * v if n.endswith('0') else v.clone() for n, v in net.state_dict().items()}
    net.load_state_dict(Net().state_dict(), strict=False)
    assert not any(net[0].get_buffer(name).any() for name in ('A0', 'B0'))
    with pytest.raises(InputError, match='starts from data'):
        net(x)
    net.load_state_dict(trained)
    assert start_from_data(net, [x]) == 0 and not torch.allclose(net(x), plain(x))


class Reader(nn.Module):
    """A module that computes with the weight of its layer, and does not call it."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 12)

    def forward(self, x):
        return nn.functional.linear(input=x, weight=self.qkv.weight, bias=self.qkv.bias)


def test_weights_that_another_module_reads(seen):
    plain, x = Reader(), torch.randn(5, 8)
    net = copy.deepcopy(plain)
    inject_adapter(net, dict(type='LoRANull', rank=2, targets='qkv'))
    with pytest.raises(InputError, match='starts from data'):
        net(x)
    assert start_from_data(net, [x]) == 1 and torch.allclose(seen[0], second_moment(x))
    assert torch.equal(net(x), plain(x))


def test_methods_that_need_no_data_take_none():
    net = Net()
    inject_adapter(net, dict(type='SoMA', rank=2, targets='[01]'))
    assert start_from_data(net, [None]) == 0


@pytest.mark.parametrize(
    ('model', 'batch', 'message'),
    [
        (nn.MultiheadAttention(8, 2), 3 * [torch.randn(3, 8)], "_proj' shows no inputs"),
        (nn.Sequential(nn.Linear(4, 4)), torch.zeros(3, 4), "of layer '0' are all zero, or not"),
        (nn.Sequential(nn.Linear(4, 4)), torch.full((3, 4), torch.nan), 'or not finite'),
    ],
)
def test_inputs_that_no_layer_can_start_from(model, batch, message):
    inject_adapter(model, dict(type='LoRANull', rank=2, targets='.+proj|0'))
    with pytest.raises(InputError, match=message):
        start_from_data(model, [batch])
    layers = [m for m in model.modules() if isinstance(m, AdapterLayer)]
    assert layers and not any(layer.is_started for layer in layers)


def test_few_inputs_are_told_of_and_nothing_is_saved_before_the_start(caplog, tmp_path):
    net = Net()
    inject_adapter(net, dict(CONFIG, targets='1'), split=False)
    with pytest.raises(ValueError, match=r'1 layers, such as 1, wait for a start'):
        save_adapter(net, tmp_path / 'a.safetensors')
    with caplog.at_level('WARNING'):
        start_from_data(net, [torch.randn(1, 2, 4, 4)])  # four places after the convolution
    assert '1 of 1 layers start from fewer inputs than these are wide (1: 4 of 6)' in caplog.text
    save_adapter(net, tmp_path / 'a.safetensors')
