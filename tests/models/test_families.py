"""Every method on a small twin of every family of foundation models."""

import os

import pytest
import torch
from mmengine.registry import MODELS
from timm_families import FAMILIES, OFFICIAL, STAGES, make
from torch import nn

from soma.adapters import (
    ADAPTERS,
    AdapterLayer,
    adapter_names,
    merge_adapter,
    save_adapter,
    start_from_data,
)
from soma.checkpoints import merge_files
from soma.io.checkpoint_files import write_checkpoint
from soma.utils.config import REPOSITORY

ALL = {**FAMILIES, **STAGES}
FAST = {(family, 'SoMA') for family in ('DINOv3', 'EVA-02', 'Swin', 'SAM')}
FAST |= {('SAM', method) for method in ('CorDA', 'RecycleLoRA', 'Rein', 'SVF')}
PAIRS = [
    pytest.param(family, method, marks=() if (family, method) in FAST else pytest.mark.slow)
    for family in ALL
    for method in ADAPTERS
]


def adapter(family, method):
    config = {'type': method}
    if method == 'Rein':
        stacks = {'ConvNeXt': r'stages\.\d+\.', 'Swin': r'layers\.\d+\.'}
        config |= dict(num_tokens=3, rank=2, zero_init=True)
        config |= dict(targets=stacks.get(family, '') + r'blocks\.\d+')
    elif hasattr(ADAPTERS[method], 'rank'):
        config |= dict(rank=2)
    return config


def backbone(family, path, config=None, **options):
    """The backbone of a family with the weights of a file, and perhaps an adapter."""
    name, model_args = ALL[family]
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    if family in STAGES:
        plain = dict(type='TimmPyramid', model_name=name, model_args=model_args, init_cfg=init_cfg)
        plain |= options
        model = plain if config is None else dict(type='AdaptedBackbone', backbone=plain)
        model |= {} if config is None else dict(adapter=config)
    else:
        options = dict(out_indices=[0, 1, 2], pyramid=[1] * 3, adapter=config) | options
        model = dict(
            type='TimmVisionTransformer', model_name=name, model_args=model_args, **options
        )
        model |= dict(init_cfg=init_cfg)
    model = MODELS.build(model)
    model.init_weights()
    return model


def timm_maps(family, network, x):
    """What timm's own network computes."""
    if family in STAGES:
        return network.forward_intermediates(x, intermediates_only=True)
    return network.forward_intermediates(x, indices=[0, 1, 2], intermediates_only=True)


def total(maps):
    return sum((m * torch.linspace(-1, 1, m.numel()).view(m.shape)).sum() for m in maps)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """The official file of each family, the other of its layouts first where there are two."""
    folder, paths = tmp_path_factory.mktemp('families'), {}
    for family, layouts in OFFICIAL.items():
        for index, layout in enumerate(layouts):
            paths[family, index] = folder / f'{family} {index}.{("pth", "safetensors")[index]}'
            content = layout(make(family).state_dict())
            if index:
                content = content.get('model', content.get('module', content))
            write_checkpoint(content, paths[family, index])
    return paths


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize('family', ALL)
def test_official_files_of_two_layouts(family, files, images):
    expected = timm_maps(family, make(family), images)
    for index in range(2):
        model = backbone(family, files[family, index]).eval().requires_grad_(False)
        for actual, maps in zip(model(images), expected, strict=True):
            assert torch.equal(actual, maps)


@pytest.mark.parametrize(('family', 'method'), PAIRS)
def test_methods_on_families(family, method, files, images, tmp_path):
    path, config = files[family, 0], adapter(family, method)
    plain = make(family)
    model = backbone(family, path, config).eval()
    start_from_data(model, [images])  # if it needs that
    with torch.no_grad():
        expected = timm_maps(family, plain, images)
        assert all(map(torch.equal, model(images), expected))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == adapter_names(model) and trained

    model.train()
    torch.manual_seed(2)
    total(model(images)).backward()
    for name in trained:
        parameter = model.get_parameter(name)
        assert parameter.grad is not None, name
        parameter.data.add_(torch.randn_like(parameter) / 20)
    model.eval().zero_grad()
    with torch.no_grad():
        after = model(images)
    assert max((a - b).abs().max() for a, b in zip(after, expected, strict=True)) > 1e-3
    again = backbone(family, path, config).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert all(map(torch.equal, again(images), after))

    base, out = tmp_path / 'adapter.safetensors', tmp_path / 'merged.safetensors'
    save_adapter(model, base)
    if not ADAPTERS[method].folds:
        return
    check_gradients(family, model, plain, images)
    merge_files(path, base, out)
    merged = backbone(family, out).eval().requires_grad_(False)
    merge_adapter(again)
    with torch.no_grad():
        for result in (merged, again):
            for actual, maps in zip(result(images), after, strict=True):
                torch.testing.assert_close(actual, maps, rtol=1e-4, atol=1e-4)


def check_gradients(family, model, plain, images):
    """The gradients are those of the plain network with the weights that the layers compute."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, AdapterLayer)}
    weights = {}
    for name, layer in layers.items():
        weights[f'{name}.weight'] = layer.effective_weight()
        if layer.train_bias:
            weights[f'{name}.bias'] = layer.bias
    parameters = [model.get_parameter(name) for name in adapter_names(model)]
    wrapped = Maps(family, plain)
    computed = torch.func.functional_call(
        wrapped, {f'network.{name}': value for name, value in weights.items()}, (images,)
    )
    grads = torch.autograd.grad(total(computed), parameters)
    for actual, gradient in zip(
        torch.autograd.grad(total(model(images)), parameters), grads, strict=True
    ):
        torch.testing.assert_close(actual, gradient, rtol=1e-3, atol=1e-3 * gradient.abs().max())


class Maps(nn.Module):
    """timm's own network, as a function of its parameters."""

    def __init__(self, family, network):
        super().__init__()
        self.family, self.network = family, network

    def forward(self, x):
        return timm_maps(self.family, self.network, x)


BEGIN, END = '<!-- tested: begin -->', '<!-- tested: end -->'


def test_the_guide_shows_what_is_tested():
    """Its table is made of the pairs above."""
    pairs = {pair.values for pair in PAIRS}
    rows = [['family', 'such as', *ADAPTERS], ['---', '---', *[':---:'] * len(ADAPTERS)]]
    for family, (name, _) in ALL.items():
        marks = ['✓' if (family, method) in pairs else '' for method in ADAPTERS]
        rows.append([family, f'`{name}`', *marks])
    table = '\n'.join(f'| {" | ".join(row)} |' for row in rows)
    page = REPOSITORY / 'docs/user_guides/foundation_models.md'
    before, rest = page.read_text().split(BEGIN)
    text = f'{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}'
    if 'SOMA_WRITE_TABLES' in os.environ:
        page.write_text(text)
    assert page.read_text() == text
