"""Adapters in a network whose parameters two processes share (``fully_shard``)."""

import copy

import pytest
import torch
from processes import in_group
from test_common import CONFIGS, TYPES, Net, make
from torch import nn

from soma.adapters import inject_adapter, load_adapter, merge_adapter, save_adapter
from soma.adapters.sharded import is_sharded, local, whole
from soma.engine.distributed import shard

REIN = dict(type='Rein', targets=r'blocks.\d.norm', num_tokens=5, rank=2, scale_init=0.5)
LATE = {
    'inject the adapter before': lambda net, file: inject_adapter(net, dict(type='LoRA')),
    'load the adapter before': load_adapter,
    'save the adapter': lambda net, file: merge_adapter(net),
    'load the weights, from which': lambda net, file: net.load_state_dict(
        {name: p for name, p in net.state_dict().items() if name[-1] not in 'AB0'}, strict=False
    ),
}


def networks():
    nets = {kind: make(kind) for kind in TYPES}
    nets['Rein'] = Net()
    inject_adapter(nets['Rein'], REIN)
    return nets


def steps(net, batches):
    """Adam moves each value as far, however small its gradient: no error would hide."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    for batch in batches:
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()


def test_two_processes_share_the_parameters(tmp_path):
    """All methods in one start: trained as one process does, saved as whole, refused when late."""
    import torch._dynamo
    import torch.distributed.fsdp

    nets, batches = networks(), torch.randn(2, 4, 3, 8, 8)
    in_group(_run, tmp_path, nets, batches, tmp_path)
    assert not (tmp_path / 'other.pth').exists()
    for kind, net in nets.items():
        alone = copy.deepcopy(net)
        steps(alone, batches)
        load_adapter(net, tmp_path / f'{kind}.pth')
        states = net.state_dict(), alone.state_dict()
        torch.testing.assert_close(*states, rtol=0, atol=1e-6, msg=lambda m, k=kind: f'{k}: {m}')


def _run(rank, nets, batches, folder):
    from torch.distributed.fsdp import fully_shard

    for kind, net in nets.items():
        size = sum(parameter.numel() for parameter in net.parameters())
        if kind == 'LoRA':  # as in a training, whose state dicts are whole
            shard(net)
        else:
            for module in (*net.blocks, net):
                fully_shard(module)
        assert sum(local(p).numel() for p in net.parameters()) < 0.6 * size
        steps(net, batches.chunk(2, dim=1)[rank])
        save_adapter(net, folder / ('other.pth' if rank else f'{kind}.pth'))
    for message, function in LATE.items():
        with pytest.raises(ValueError, match=r'sharded \(fully_shard\): ' + message):
            function(nets['SoMA'], folder / 'SoMA.pth')


@pytest.mark.parametrize('assign', [True, False])
@pytest.mark.parametrize('kind', ['LoRA', 'SVF', 'SoMA'])
def test_a_network_on_the_meta_device_starts_when_it_is_loaded(kind, assign):
    """Of those that are split, kept and drawn, each as the one that had its weights."""
    plain, x = Net(), torch.randn(2, 3, 8, 8)
    torch.manual_seed(1)
    expected = make(kind, plain)
    with torch.device('meta'):
        net = Net()
    with pytest.raises(ValueError, match=r'not there \(meta\): inject with split=False'):
        inject_adapter(net, CONFIGS[kind])
    assert not any(isinstance(module, type(expected.blocks[0].qkv)) for module in net.modules())
    inject_adapter(net, CONFIGS[kind], split=False)
    if not assign:
        net.to_empty(device='cpu')
    torch.manual_seed(1)
    net.load_state_dict(plain.state_dict(), assign=assign)
    state = net.state_dict()
    assert [n for n, v in expected.state_dict().items() if not torch.equal(state[n], v)] == []
    assert torch.equal(net(x), plain(x))


def test_nothing_is_sharded_in_one_process():
    parameter = nn.Parameter(torch.ones(2))
    assert not is_sharded(parameter) and whole(parameter) is local(parameter) is parameter
