"""What holds for every type of adapter, on one network with linear layers and convolutions."""

import copy
import pickle

import pytest
import torch
from processes import in_group
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from soma.adapters import (
    ADAPTERS,
    Adapter,
    AdapterLayer,
    adapter_card,
    adapter_names,
    adapter_report,
    inject_adapter,
    load_adapter,
    merge_adapter,
    merge_state,
    save_adapter,
    start_from_data,
)
from soma.adapters.layer_config import LayerConfig
from soma.adapters.low_rank import LowRankConfig
from soma.io.checkpoint_files import CheckpointError, card_of, read_checkpoint, state_dict_of


def is_of_layers(config):
    return issubclass(config, LayerConfig)


LAYERS = ('blocks.0.conv', 'blocks.0.qkv', 'blocks.1.conv', 'blocks.1.qkv')
# Every method of layers that is registered, and which parameters of a layer train with it; of a
# method that is not named here, all tensors of its own.
TYPES = {
    name: {*config.layer_tensors()} for name, config in ADAPTERS.items() if is_of_layers(config)
}
TYPES |= {
    'SoMA': {'A', 'B', 'bias'},
    'PiSSA': {'A', 'B'},
    'MiLoRA': {'A', 'B'},
    'OLoRA': {'A', 'B'},
    'CorDA': {'A', 'B'},
    'LoRANull': {'A', 'B'},
    'LoRA': {'A', 'B'},
    'DoRA': {'A', 'B', 'magnitude'},
    'MiCA': {'A'},
    'RecycleLoRA': {'A', 'B', 'A_sub', 'B_sub'},
    'SVF': {'S'},
    'BitFit': {'bias'},
}
CONFIGS = {
    kind: {
        'type': kind,
        'targets': r'blocks\.\d+\.(conv|qkv)',
        **(dict(rank=3, alpha=6) if issubclass(ADAPTERS[kind], LowRankConfig) else {}),
    }
    for kind in TYPES
}


class Block(nn.Module):
    """A convolution, and a fused projection of its pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.qkv = nn.Linear(8, 24)

    def forward(self, x):
        x = x + self.norm(self.conv(x)).relu()
        q, k, v = self.qkv(x.permute(0, 2, 3, 1)).chunk(3, dim=-1)
        return x + (q.tanh() * k + v).permute(0, 3, 1, 2)


class Net(nn.Module):
    """Two blocks behind a stem."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2, 2)
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x


def make(kind, net=None):
    """A network with adapters in its blocks."""
    net = Net() if net is None else copy.deepcopy(net)
    inject_adapter(net, CONFIGS[kind])
    start_from_data(net, [torch.randn(4, 3, 8, 8)])  # those that need it
    return net


def train(net, steps=3):
    """Move all that trains."""
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    return net


@pytest.fixture
def images():
    return torch.randn(2, 3, 8, 8)


@pytest.fixture(params=TYPES)
def kind(request):
    return request.param


def test_at_step_0_the_network_is_the_plain_one_bit_for_bit(kind, images):
    plain = Net()
    net, later = make(kind, plain), Net()
    inject_adapter(later, CONFIGS[kind], split=False)
    assert later.load_state_dict(plain.state_dict(), strict=False).missing_keys == []
    start_from_data(later, [images])
    for model in (net, net.eval(), later):
        assert torch.equal(model(images), plain(images))
    with torch.no_grad():
        assert torch.equal(net(images), plain(images))


def test_exactly_the_adapter_trains(kind):
    net = make(kind)
    wanted = {f'{layer}.{name}' for layer in LAYERS for name in TYPES[kind]}
    assert {name for name, p in net.named_parameters() if p.requires_grad} == wanted
    assert adapter_names(net) == wanted
    adapters = {name: m for name, m in net.named_modules() if isinstance(m, Adapter)}
    assert set(adapters) == set(LAYERS) and {m.method for m in adapters.values()} == {kind}


def test_what_trains_gets_gradients_and_moves_and_nothing_else_does(kind, images):
    net = make(kind)
    before, start = copy.deepcopy(net.state_dict()), net(images)
    train(net)
    for parameter in net.parameters():
        grad = parameter.grad
        assert (grad is not None and bool(grad.any())) is parameter.requires_grad
    moved = {name for name, v in net.state_dict().items() if not torch.equal(v, before[name])}
    assert moved == adapter_names(net)
    assert not torch.allclose(net(images), start)


def test_gradients_are_those_of_the_merged_weight(kind, images):
    """The chain rule through the weight that the layer says it computes with."""
    net = train(make(kind))
    for name, layer in net.named_modules():
        if not isinstance(layer, AdapterLayer):
            continue
        shape = (5, 8) if name.endswith('qkv') else (2, 8, 6, 6)
        x = torch.randn(shape, requires_grad=True)
        parameters = {'weight': layer.effective_weight(), 'bias': layer.bias}
        expected = torch.func.functional_call(layer._plain(), parameters, (x,))
        wrt = [x, *layer.adapter_parameters().values()]
        upstream = torch.randn_like(expected)
        pairs = zip(
            torch.autograd.grad(layer(x), wrt, upstream),
            torch.autograd.grad(expected, wrt, upstream),
            strict=True,
        )
        assert torch.allclose(layer(x), expected, atol=1e-6)
        assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in pairs), name


def test_merging_gives_plain_layers_that_compute_the_same(kind, images):
    net = train(make(kind))
    expected, state = net(images), net.state_dict()
    card = adapter_card(net)
    assert merge_adapter(net) == len(LAYERS) and merge_adapter(net) == 0
    assert [type(m) for m in net.modules()] == [type(m) for m in Net().modules()]
    assert torch.allclose(net(images), expected, atol=1e-5)
    # on tensors alone, too
    plain = Net()
    plain.load_state_dict(merge_state(state, card))
    assert torch.allclose(plain(images), expected, atol=1e-5)


def test_a_file_brings_the_adapter_onto_the_base(kind, images, tmp_path):
    plain = Net()
    net = train(make(kind, plain))
    path = tmp_path / 'adapter.safetensors'
    save_adapter(net, path)
    content = read_checkpoint(path)
    state = state_dict_of(content, path)
    assert not any(name.endswith('weight') for name in state)
    assert card_of(content)['method'] == kind and card_of(content)['targets'] == list(LAYERS)
    for model in (copy.deepcopy(plain), make(kind, plain)):
        report = load_adapter(model, path)
        assert torch.equal(model(images), net(images))
        assert str(report) == str(adapter_report(net))
    with pytest.raises(CheckpointError, match='pretrained weights'):
        load_adapter(Net(), path)
    other = make('SoMA' if kind != 'SoMA' else 'LoRA', plain)
    with pytest.raises(CheckpointError, match=f'has an adapter {kind}'):
        load_adapter(other, path)


def test_autocast_keeps_step_0_and_trains_in_float32(kind, images):
    plain = Net()
    net = make(kind, plain)
    with torch.autocast('cpu', torch.bfloat16):
        output = net(images)
        assert torch.equal(output, plain(images))
    output.float().square().mean().backward()
    grads = [p.grad for p in net.parameters() if p.requires_grad]
    assert all(grad is not None and grad.dtype == torch.float32 for grad in grads)
    full, half = train(make(kind, plain)), train(make(kind, plain))
    half.load_state_dict(full.state_dict())
    with torch.autocast('cpu', torch.bfloat16):
        rounded = half(images)
    assert torch.allclose(rounded.float(), full(images), atol=0.1)


def test_copies_and_pickles_train_on_their_own(kind, images):
    net = train(make(kind))
    twin, expected = copy.deepcopy(net), net(images)
    for other in (twin, pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(images), expected)
    train(twin)
    assert torch.equal(net(images), expected) and not torch.allclose(twin(images), expected)


def test_the_report_counts_what_trains(kind):
    net = make(kind)
    report = adapter_report(net)
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert sum(report.trainable.values()) == trained > 0
    assert sum(report.frozen.values()) == sum(p.numel() for p in net.parameters()) - trained
    assert report.layers == LAYERS
    own = [name for name in ADAPTERS[kind].layer_tensors() if name in TYPES[kind]]
    assert {role for role, count in report.trainable.items() if count} == {
        *([f'adapter {", ".join(own)}'] if own else []),
        *(['adapted biases'] if 'bias' in TYPES[kind] else []),
    }
    assert f'{trained:,}' in str(report) and '4 layers' in str(report)


def test_two_processes_share_their_gradients(images, tmp_path):
    """All types in one start of DistributedDataParallel, which must find no unused parameter."""
    nets, batches = {kind: train(make(kind)) for kind in TYPES}, torch.randn(2, 2, 3, 8, 8)
    in_group(_run_ddp, tmp_path, nets, batches, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for kind, net in nets.items():
            for _ in range(2):
                net.zero_grad()
                net(batches.flatten(0, 1)).square().mean().backward()
            for name, parameter in net.named_parameters():
                if parameter.requires_grad:
                    assert torch.allclose(found[kind][name], parameter.grad, atol=1e-6), name


def _run_ddp(rank, nets, batches, folder):
    grads = {}
    for kind, net in nets.items():
        model = DistributedDataParallel(net)
        for _ in range(2):  # the second one fails if a gradient was missing in the first
            model.zero_grad()
            model(batches[rank]).square().mean().backward()
        grads[kind] = {n: p.grad for n, p in net.named_parameters() if p.requires_grad}
    torch.save(grads, folder / f'{rank}.pth')
