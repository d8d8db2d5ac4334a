"""A backbone whose frozen weights are bfloat16: built, trained, extracted, merged, loaded."""

import copy

import pytest
import torch
from mmseg.apis import init_model
from torch import nn

from soma.adapters import SoMALayer, merge_adapter
from soma.checkpoints import extract_adapter, load_plain, merge_files
from soma.io.checkpoint_files import CheckpointError, card_of, read_checkpoint, read_state_dict
from soma.models import DINOv2
from soma.models.backbones.dinov2_weights import convert_dinov2
from soma.models.build import use_plain_model

SOMA = dict(type='SoMA', rank=2, start_block=2)


def build(public_file=None, width=16, **options):
    if public_file is not None:
        options['init_cfg'] = dict(type='Pretrained', checkpoint=str(public_file))
    arch = dict(embed_dim=width, depth=4, num_heads=2)
    settings = dict(img_size=32, patch_size=8, out_indices=[0, 1, 2, 3], pyramid=[1] * 4)
    model = DINOv2(arch, **settings, **options)
    model.init_weights()
    return model


@pytest.mark.parametrize('options', [dict(adapter=SOMA), dict(frozen_blocks=2)])
def test_the_frozen_matrices_are_bfloat16_and_nothing_else(public_file, options):
    model = build(public_file, base_dtype='bfloat16', **options)
    state = convert_dinov2(read_state_dict(public_file), (32, 32), 8)
    rounded = {name for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
    matrices = {
        f'blocks.{block}.{layer}.weight'
        for block in range(4 if 'adapter' in options else 2)
        for layer in ('attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2')
    }
    assert rounded == matrices
    for name, value in model.state_dict().items():
        if name in state:
            assert torch.equal(value, state[name].to(value.dtype)), name
        assert name in rounded or value.dtype == torch.float32


def test_the_split_is_of_the_weights_in_the_file(public_file):
    for loaded in (False, True):  # by init_cfg, or into a model that is there
        model, exact = (
            build(public_file, adapter=SOMA, base_dtype=t) for t in ('bfloat16', 'float32')
        )
        if loaded:
            plain = {n: v + 0.1 for n, v in build(public_file).state_dict().items()}
            for network in (model, exact):
                network.load_state_dict(plain, strict=False)
        for name, value in exact.state_dict().items():
            if name.endswith(('.A', '.B', '.A0', '.B0')):
                assert torch.equal(model.state_dict()[name], value) and value.any()


def test_half_the_memory():
    def size(dtype):
        model = build(width=128, adapter=SOMA, base_dtype=dtype)
        frozen = [p for n, p in model.named_parameters() if not p.requires_grad and 'blocks' in n]
        return sum(p.numel() * p.element_size() for p in frozen)

    assert 0.5 <= size('bfloat16') / size('float32') < 0.51


@pytest.mark.parametrize('amp', [False, True])
@pytest.mark.parametrize('with_cp', [False, True])
def test_maps_and_gradients_differ_by_rounding(public_file, amp, with_cp):
    x = torch.randn(2, 3, 32, 32)
    maps, gradients = {}, {}
    for dtype in ('float32', 'bfloat16'):
        model = build(public_file, adapter=SOMA, base_dtype=dtype, with_cp=with_cp).train()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and name.endswith('.B'):
                    parameter += 0.05  # so that the delta counts
        with torch.autocast('cpu', torch.bfloat16, enabled=amp and dtype == 'bfloat16'):
            maps[dtype] = model(x)
        sum(m.square().mean() for m in maps[dtype]).backward()
        gradients[dtype] = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    for exact, rounded in zip(*maps.values(), strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < (exact - rounded).norm() / exact.norm() < 0.02
    for name, exact in gradients['float32'].items():
        rounded = gradients['bfloat16'][name]
        assert rounded.dtype == torch.float32
        assert (exact - rounded).norm() < 0.1 * exact.norm() + 1e-6, name


def test_a_small_change_of_a_weight_is_not_lost(public_file):
    """It would be, were the sum of weight and change rounded to the weight's precision."""
    layer = next(
        m
        for m in build(public_file, adapter=SOMA, base_dtype='bfloat16').modules()
        if isinstance(m, SoMALayer)
    )
    x, before = torch.eye(layer.in_features), layer.weight.float()
    with torch.no_grad():
        layer.B += 1e-4
    change = layer(x).T - layer.bias[:, None] - before
    assert (layer.delta() != 0).any()
    torch.testing.assert_close(change, layer.delta(), rtol=1e-2, atol=1e-7)
    torch.testing.assert_close(layer.merge().weight, before + layer.delta())
    assert merge_adapter(nn.Sequential(layer)) == 1


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match=r"base_dtype must .*'bfloat16'\), got 'int8'"):
        build(base_dtype='int8')


def logits(model, x):
    with torch.no_grad():
        return model.eval()(x, mode='tensor')


@pytest.mark.slow
@pytest.mark.parametrize('hook', ['CheckpointHook', 'AdapterCheckpointHook'])
def test_train_extract_merge_test(tiny_config, build_runner, public_file, tmp_path, hook):
    options = {
        'model.backbone.base_dtype': 'bfloat16',
        'default_hooks.checkpoint.type': hook,
        'default_hooks.checkpoint.interval': 2,
        'train_cfg.max_iters': 2,
    }
    build_runner(tiny_config, options).train()
    runner = build_runner(tiny_config, options | {'train_cfg.max_iters': 4, 'resume': True})
    runner.train()
    assert runner.iter == 4
    final, adapter = f'{runner.work_dir}/iter_4.pth', tmp_path / 'adapter.safetensors'
    card = extract_adapter(final, adapter)
    assert card.base.dtype == 'bfloat16' == card_of(read_checkpoint(final))['base']['dtype']
    merge_files(public_file, adapter, tmp_path / 'merged.pth')
    merge_files(public_file, adapter, tmp_path / 'kept.pth', keep_adapter=True)

    x = torch.randn(2, 3, 32, 32)
    trained = runner.model.backbone
    assert (trained.blocks[2].attn.qkv.delta() != 0).any()
    config = copy.deepcopy(tiny_config)
    config.model.backbone.base_dtype = 'bfloat16'
    use_plain_model(config)
    result = {}
    for name, file in {
        'final': final,
        'adapter': adapter,
        'merged': tmp_path / 'merged.pth',
        'kept': tmp_path / 'kept.pth',
    }.items():
        model = init_model(copy.deepcopy(config), None, device='cpu')
        load_plain(model, file, None if name == 'merged' else public_file)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        for block in (0, 2):  # the values that it was trained with
            merged, adapted = (n.blocks[block].attn.qkv for n in (model.backbone, trained))
            expected = adapted.weight + adapted.delta() if block else adapted.weight.float()
            torch.testing.assert_close(merged.weight, expected)
        result[name] = logits(model, x)
    exact = result.pop('final')
    for name, value in result.items():
        assert (value - exact).abs().max() <= 1e-5, name
    difference = (logits(runner.model, x) - exact).norm() / exact.norm()
    assert 0 < difference < 0.02

    # onto the float32 weights of a model, and the other way round
    again = build_runner(tiny_config, {'load_from': str(adapter)})
    again.model.init_weights()
    again.load_checkpoint(str(adapter))
    assert (logits(again.model, x) - exact).norm() / exact.norm() < 0.02


def test_an_adapter_of_the_float32_weights_is_refused(tiny_config, build_runner):
    options = {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'}
    build_runner(tiny_config, options).train()
    file = f'{tiny_config.work_dir}/iter_4.pth'
    runner = build_runner(tiny_config, {'model.backbone.base_dtype': 'bfloat16'})
    runner.model.init_weights()
    message = r'dtype float32.* holds .* in bfloat16 \(base_dtype\)'
    with pytest.raises(CheckpointError, match=message):
        runner.load_checkpoint(file)
