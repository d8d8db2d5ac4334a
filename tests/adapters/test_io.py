import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from soma.adapters import inject_adapter, load_adapter, merge_adapter, save_adapter
from soma.io.checkpoint_files import CheckpointError, card_of, read_checkpoint, write_checkpoint


class Model(nn.Module):
    """A backbone and a head that trains."""

    def __init__(self, width=8):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.blocks = nn.ModuleList(
            nn.ModuleDict({'qkv': nn.Linear(width, 3 * width), 'proj': nn.Linear(3 * width, width)})
            for _ in range(2)
        )
        self.head = nn.Sequential(nn.Linear(width, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        for block in self.backbone.blocks:
            x = x + block['proj'](block['qkv'](x).tanh())
        return self.head(x)


def trained(model, **options):
    """Adapt and train a copy of a model a little; put what it computes beside it."""
    config = dict(type='SoMA', rank=2, start_block=1, targets=r'.*blocks\.\d+\.\w+', **options)
    inject_adapter(model, config)
    model.head.requires_grad_(True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(6, 8)).square().mean().backward()
        optimizer.step()
    return model.eval()


@settings(max_examples=15, deadline=None)
@given(
    alpha=st.floats(0.5, 8),
    train_bias=st.booleans(),
    component=st.sampled_from(['minor', 'principal', 'random']),
    suffix=st.sampled_from(['.safetensors', '.pth']),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_round_trip(tmp_path_factory, alpha, train_bias, component, suffix, dtype):
    folder = tmp_path_factory.mktemp('adapter')
    base = Model()
    pretrained = {name: value.clone() for name, value in base.state_dict().items()}
    model = trained(base, alpha=alpha, train_bias=train_bias, component=component).to(dtype)
    save_adapter(model, folder / f'x{suffix}', prefix='backbone.')
    content = read_checkpoint(folder / f'x{suffix}')
    frozen = {f'backbone.blocks.{i}.{n}.weight' for i in (0, 1) for n in ('qkv', 'proj')}
    frozen |= {f'backbone.blocks.0.{n}.bias' for n in ('qkv', 'proj')}
    frozen |= set() if train_bias else {f'backbone.blocks.1.{n}.bias' for n in ('qkv', 'proj')}
    assert content['state_dict'].keys() == model.state_dict().keys() - frozen
    card = card_of(content)
    assert (card['rank'], card['alpha'], card['start_block']) == (2, alpha, 1)
    assert card['groups'] == {'qkv': 3} and card['component'] == component

    again = Model()
    again.load_state_dict(pretrained)
    report = load_adapter(again.to(dtype).eval(), folder / f'x{suffix}')
    assert len(report.layers) == 2
    x = torch.randn(5, 8, dtype=dtype)
    assert torch.equal(again(x), model(x))
    # onto a model that is adapted already, and then merged
    load_adapter(again, folder / f'x{suffix}')
    merge_adapter(again)
    torch.testing.assert_close(again(x), model(x), rtol=1e-5, atol=1e-5)


def test_the_backbone_alone(tmp_path):
    base = Model()
    backbone = Model().backbone
    backbone.load_state_dict(base.backbone.state_dict())
    model = trained(base)
    save_adapter(model, tmp_path / 'x.safetensors', 'backbone.')
    load_adapter(backbone, tmp_path / 'x.safetensors', part='backbone')
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value)


def test_other_base_weights_are_refused(tmp_path):
    model = trained(Model())
    save_adapter(model, tmp_path / 'x.safetensors')
    wanted = card_of(read_checkpoint(tmp_path / 'x.safetensors'))['base']['hash']
    with pytest.raises(CheckpointError, match=f'trained on the pretrained weights {wanted[:12]}'):
        load_adapter(Model(), tmp_path / 'x.safetensors')
    other = Model()
    load_adapter(other, tmp_path / 'x.safetensors', force=True)
    assert torch.equal(other.head[0].weight, model.head[0].weight)


def test_files_that_do_not_fit_are_refused(tmp_path):
    save_adapter(trained(Model()), tmp_path / 'x.safetensors')
    for model in (Model(width=6), nn.Linear(3, 3)):
        with pytest.raises(CheckpointError, match=r'x\.safetensors does not fit'):
            load_adapter(model, tmp_path / 'x.safetensors', force=True)
    write_checkpoint({'a': torch.ones(1)}, tmp_path / 'plain.safetensors')
    with pytest.raises(CheckpointError, match='no card of an adapter'):
        load_adapter(Model(), tmp_path / 'plain.safetensors')
    with pytest.raises(ValueError, match='Model has no adapter to save'):
        save_adapter(Model(), tmp_path / 'y.safetensors')
    assert not (tmp_path / 'y.safetensors').exists()


def test_another_alpha_is_refused(tmp_path):
    def adapted(alpha):
        model = nn.Sequential(nn.Linear(6, 6))
        with torch.no_grad():
            model[0].weight.copy_(torch.arange(36.0).view(6, 6).sin())
        inject_adapter(model, dict(type='SoMA', rank=2, alpha=alpha, targets='0'))
        return model

    save_adapter(adapted(4.0), tmp_path / 'a.safetensors')
    load_adapter(adapted(4.0), tmp_path / 'a.safetensors')
    with pytest.raises(
        CheckpointError, match=r'alpha 4\.0, the model SoMA of rank 2 and alpha 2\.0'
    ):
        load_adapter(adapted(2.0), tmp_path / 'a.safetensors')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_part_may_be_called_module(tmp_path, suffix):
    model = nn.ModuleDict({'module': nn.Linear(4, 4), 'head': nn.Linear(4, 2)})
    plain = copy.deepcopy(model)
    inject_adapter(model, dict(type='SoMA', rank=2, targets='module'))
    save_adapter(model, tmp_path / f'a{suffix}')
    load_adapter(plain, tmp_path / f'a{suffix}')
    assert torch.equal(plain['module'].A, model['module'].A)
