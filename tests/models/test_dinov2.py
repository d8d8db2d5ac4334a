import copy
import functools
import logging
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from timm.models.vision_transformer import VisionTransformer

from soma.adapters import SoMALayer, base_card, low_rank_product, merge_adapter
from soma.io.checkpoint_files import read_state_dict, write_checkpoint
from soma.models import DINOv2
from soma.models.backbones.dinov2_weights import convert_dinov2, resize_pos_embed
from soma.utils.config import REPOSITORY, load_config

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
SOMA = dict(type='SoMA', rank=2, start_block=2)


def build(public_file=None, **options):
    if public_file is not None:
        options['init_cfg'] = dict(type='Pretrained', checkpoint=str(public_file))
    options.setdefault('out_indices', [0, 1, 2, 3])
    config = dict(type='DINOv2', arch=ARCH, img_size=32, patch_size=8, **options)
    model = MODELS.build(config)
    model.init_weights()
    return model


def timm_maps(public_file, x, img_size=(32, 32), patch=8):
    """Block outputs of timm's own network with the converted weights."""
    model = VisionTransformer(
        img_size=img_size, patch_size=patch, init_values=1e-5, num_classes=0, **ARCH
    ).eval()
    state = convert_dinov2(read_state_dict(public_file), img_size, patch)
    model.load_state_dict({k: v for k, v in state.items() if k != 'mask_token'})
    return model.forward_intermediates(x, intermediates_only=True)


@pytest.mark.parametrize('adapter', [None, SOMA])
def test_step_zero_equals_timm_bit_for_bit(public_file, adapter):
    model = build(public_file, adapter=adapter, pyramid=[1] * 4).eval()
    x = torch.randn(2, 3, 32, 32)
    for actual, expected in zip(model(x), timm_maps(public_file, x), strict=True):
        assert torch.equal(actual, expected)


def test_split_is_the_minor_part_of_the_pretrained_weights(public_file):
    model = build(public_file, adapter=SOMA)
    state = convert_dinov2(read_state_dict(public_file), (32, 32), 8)
    adapted = {n: m for n, m in model.named_modules() if isinstance(m, SoMALayer)}
    assert len(adapted) == 8
    for name, layer in adapted.items():
        assert torch.equal(layer.weight, state[f'{name}.weight'])
        minor = []
        for part in state[f'{name}.weight'].double().chunk(layer.groups):
            u, s, v = torch.linalg.svd(part, full_matrices=False)
            minor.append((u[:, -2:] * s[-2:]) @ v[-2:])
        minor = torch.cat(minor)
        product = low_rank_product(layer.A0.double(), layer.B0.double(), layer.groups)
        assert (layer.scale * product - minor).norm() <= 1e-6 * minor.norm()


def test_pyramid_registers_and_other_sizes(public_file):
    model = build(registers=3, out_indices=[1, 3], pyramid=[2, 0.5])
    shapes = [tuple(m.shape) for m in model(torch.randn(2, 3, 32, 64))]
    assert shapes == [(2, 16, 8, 16), (2, 16, 2, 4)]
    plain = build(public_file, out_indices=[3], pyramid=[1]).eval()
    x = torch.randn(1, 3, 16, 48)
    expected = timm_maps(public_file, x, img_size=(16, 48))[-1]
    # one resizing from the file's grid, against two by way of 4 x 4
    assert F.cosine_similarity(plain(x)[0].flatten(), expected.flatten(), 0) > 0.9


@pytest.mark.parametrize('interp', ['exact', 'dinov2'])
@pytest.mark.parametrize('registers', [0, 2])
def test_positions_are_resized_from_file_to_model_and_to_image(
    public_file, tmp_path, interp, registers
):
    state = read_state_dict(public_file)
    if registers:
        state['register_tokens'] = torch.randn(1, registers, 16)
    write_checkpoint(state, tmp_path / 'x.pth')
    options = dict(registers=registers, pos_embed_interp=interp, out_indices=[3], pyramid=[1])
    model = build(tmp_path / 'x.pth', **options).eval()
    pos_embed = resize_pos_embed(state['pos_embed'], (4, 4), interp=interp)
    assert torch.equal(model.pos_embed, pos_embed)
    assert model.describe()['pos_embed_interp'] == interp
    x, tokens = torch.randn(1, 3, 24, 72), []
    model.blocks[0].register_forward_pre_hook(lambda block, inputs: tokens.append(inputs[0]))
    model(x)
    positions = resize_pos_embed(pos_embed, (3, 9), (4, 4), interp)
    expected = torch.cat([model.cls_token, model.patch_embed(x).flatten(1, 2)], 1) + positions
    assert torch.equal(tokens[0][:, :1], expected[:, :1])
    assert torch.equal(
        tokens[0][:, 1 : 1 + registers], state.get('register_tokens', torch.zeros(1, 0, 16))
    )
    assert torch.equal(tokens[0][:, 1 + registers :], expected[:, 1:])


def test_sizes_that_no_patch_divides_are_enlarged(public_file):
    model = build(public_file, out_indices=[3], pyramid=[2]).eval()
    x = torch.randn(1, 3, 30, 41)
    expected = F.interpolate(x, size=(32, 48), mode='bilinear')
    assert model(x)[0].shape == (1, 16, 8, 12)
    assert torch.equal(model(x)[0], model(expected)[0])


def test_non_square_img_size(public_file):
    model = DINOv2(
        ARCH,
        img_size=(16, 48),
        patch_size=8,
        out_indices=[3],
        pyramid=[1],
        init_cfg=dict(type='Pretrained', checkpoint=str(public_file)),
    ).eval()
    model.init_weights()
    x = torch.randn(1, 3, 16, 48)
    assert torch.equal(model(x)[0], timm_maps(public_file, x, img_size=(16, 48))[-1])


def test_what_trains():
    def trained(**options):
        return {n for n, p in build(**options).named_parameters() if p.requires_grad}

    full = trained()
    assert not any(name.startswith('norm.') for name in full) and 'pos_embed' in full
    half = trained(frozen_blocks=2)
    assert half == {n for n in full if n.startswith(('blocks.2.', 'blocks.3.'))}
    assert trained(frozen_blocks=4) == set()
    soma = trained(adapter=SOMA)
    assert all(n.rpartition('.')[2] in ('A', 'B', 'bias') for n in soma) and len(soma) == 24
    assert trained(adapter=dict(type='SoMA', rank=2), frozen_blocks=2) == soma
    early = trained(out_indices=[0, 2], pyramid=[1, 1])
    assert not any(name.startswith('blocks.3.') for name in early)
    name = 'configs/full/full-release_dinov2-L_mask2former_gta2cbm_512x512.py'
    pattern = load_config(REPOSITORY / name).model.backbone.frozen_parameters
    kept = ('norm1', 'norm2', 'ls1', 'ls2', 'pos_embed', 'patch_embed')  # in SoMA's release
    assert trained(frozen_parameters=pattern) == {
        name for name in full if not any(part in name for part in kept)
    }


@pytest.mark.parametrize('options', [{}, {'adapter': SOMA}, {'frozen_blocks': 2}])
def test_every_trained_parameter_gets_a_gradient(options):
    model = build(**options)
    sum(m.square().sum() for m in model(torch.randn(1, 3, 32, 32))).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_frozen_blocks_run_without_a_graph():
    model = build(adapter=SOMA, out_indices=[1, 3], pyramid=[1, 1])
    early, late = model(torch.randn(1, 3, 32, 32))
    assert not early.requires_grad and late.requires_grad


def test_activation_checkpointing_changes_no_gradient():
    model = build(adapter=SOMA)
    again = copy.deepcopy(model)
    again.with_cp = True
    x = torch.randn(1, 3, 32, 32)
    for network in (model, again):
        sum(m.square().sum() for m in network(x)).backward()
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-6)


def test_merge_after_training(public_file):
    model = build(public_file, adapter=SOMA)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    x = torch.randn(2, 3, 32, 32)
    for _ in range(3):
        optimizer.zero_grad()
        sum(m.square().mean() for m in model(x)).backward()
        optimizer.step()
    model.eval()
    before = model(x)
    assert not torch.allclose(before[-1], build(public_file).eval()(x)[-1], atol=1e-3)
    assert merge_adapter(model) == 8
    merged = model(x)
    assert max((a - b).abs().max() for a, b in zip(before, merged, strict=True)) <= 1e-5
    assert merge_adapter(model) == 0
    assert all(torch.equal(a, b) for a, b in zip(model(x), merged, strict=True))


def test_random_weights_are_warned_of_once(caplog, monkeypatch):
    records = []
    monkeypatch.setattr(
        'soma.models.backbones.vit.print_log',
        lambda text, **kwargs: records.append((text, kwargs)),
    )
    model = build(adapter=SOMA)
    model.init_weights()
    ((text, kwargs),) = records
    assert 'splits random weights' in text and kwargs['level'] == logging.WARNING
    assert all(m.A.any() for m in model.modules() if isinstance(m, SoMALayer))


def test_conversion_on_the_fly_is_logged(public_file, tmp_path, monkeypatch):
    records = []
    monkeypatch.setattr(
        'soma.models.backbones.dinov2.print_log', lambda text, **kwargs: records.append(text)
    )
    build(public_file)
    assert len(records) == 1 and 'converted on the fly' in records[0]
    state = convert_dinov2(read_state_dict(public_file), (32, 32), 8)
    write_checkpoint(state, tmp_path / 'converted.pth')
    build(tmp_path / 'converted.pth')
    assert len(records) == 1


def test_split_is_kept_beside_the_file(public_file, tmp_path, monkeypatch):
    path = tmp_path / 'converted.pth'
    write_checkpoint(convert_dinov2(read_state_dict(public_file), (32, 32), 8), path)
    plain = build(path, adapter=SOMA, split_cache=False)
    assert list(tmp_path.iterdir()) == [path]
    first = build(path, adapter=SOMA)
    assert {p.name for p in tmp_path.iterdir()} == {
        'converted.pth',
        'converted.pth.split-r2-minor.safetensors',
    }
    monkeypatch.delattr('soma.adapters.methods.soma.split_components')  # not needed any more
    states = [m.state_dict() for m in (plain, first, build(path, adapter=SOMA))]
    for name, value in states[0].items():
        assert all(torch.equal(state[name], value) for state in states), name


def test_prefix_picks_the_backbone_of_a_larger_file(public_file, tmp_path):
    state = {f'backbone.{k}': v for k, v in read_state_dict(public_file).items()}
    write_checkpoint({**state, 'decode_head.x': torch.ones(1)}, tmp_path / 'x.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth'), prefix='backbone')
    model = build(init_cfg=init_cfg)
    assert torch.equal(model.norm.weight, state['backbone.norm.weight'])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('blocks.1.ls1.gamma'), r'missing: blocks\.1\.ls1\.gamma'),
        (lambda s: s.update(extra=torch.ones(1)), 'unexpected: extra'),
        (lambda s: s.update(register_tokens=torch.ones(1, 4, 16)), 'unexpected: register_tokens'),
        (lambda s: s.update({'norm.weight': torch.ones(3)}), r'norm\.weight is \[3\] there'),
        (lambda s: s.pop('cls_token'), 'no DINOv2 weights'),
        (lambda s: s.update(pos_embed=torch.ones(1, 24, 16)), 'no square grid'),
    ],
)
def test_files_that_do_not_fit_are_refused(public_file, tmp_path, change, message):
    state = read_state_dict(public_file)
    change(state)
    write_checkpoint(state, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=message):
        build(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': 'huge'}, "unknown arch 'huge'"),
        ({'out_indices': [3, 1]}, 'must ascend'),
        ({'out_indices': [1, 4]}, 'within 0 to 3'),
        ({'pyramid': [1]}, '1 pyramid factors for 4'),
        ({'out_indices': None}, 'name the out_indices'),
        ({'frozen_blocks': 5}, 'frozen_blocks must be 0 to 4'),
        ({'frozen_blocks': 3, 'adapter': SOMA}, 'starts at block 2'),
        ({'attn_impl': 'flash'}, "attn_impl must .* got 'flash'"),
        ({'pos_embed_interp': 'bilinear'}, "pos_embed_interp must .* got 'bilinear'"),
        ({'init_cfg': dict(type='Kaiming', checkpoint='x')}, "type='Pretrained'"),
        ({'init_cfg': dict(type='Pretrained')}, 'init_cfg must be dict.*, checkpoint=FILE'),
        ({'init_cfg': dict(type='Pretrained', checkpoint=5)}, 'init_cfg must name a file, got 5'),
        ({'init_cfg': 'x.pth'}, "init_cfg must be dict.* got 'x.pth'"),
        ({'arch': 7}, 'unknown arch 7, choose one of'),
        ({'arch': dict(ARCH, wings=2)}, r"unknown options \['wings'\] of arch"),
        ({'arch': dict(ARCH, img_size=2)}, r"unknown options \['img_size'\] of arch"),
        ({'arch': dict(ARCH, depth=0)}, 'arch: depth must be at least 1, and whole, got 0'),
        ({'arch': dict(embed_dim=16, depth=4)}, 'arch: num_heads must be at least 1, .* got None'),
        ({'arch': dict(ARCH, num_heads=3)}, 'embed_dim 16 must be a multiple of num_heads 3'),
        ({'out_indices': [-1, 1]}, r'out_indices must ascend within 0 to 3, got \[-1, 1\]'),
        ({'out_indices': []}, r'out_indices must ascend within 0 to 3, got \[\]'),
        ({'out_indices': 3}, 'out_indices must ascend within 0 to 3, got 3'),
        ({'out_indices': ['3']}, r"out_indices must ascend within 0 to 3, got \['3'\]"),
        ({'pyramid': [4, 2, 1, 0]}, 'pyramid factors must be above 0, got 0'),
        ({'pyramid': 4}, '4 pyramid factors for 4 out_indices'),
        ({'frozen_blocks': '2'}, "frozen_blocks must be 0 to 4, got '2'"),
        ({'frozen_blocks': -1}, 'frozen_blocks must be 0 to 4, got -1'),
        ({'frozen_parameters': 'norm1'}, "frozen_parameters 'norm1' matches no parameter"),
        ({'frozen_parameters': '('}, r"frozen_parameters '\(' is no regular expression"),
        ({'frozen_parameters': 'pos_embed', 'adapter': SOMA}, 'leave frozen_parameters out'),
        ({'registers': -1}, 'registers must be at least 0, and whole, got -1'),
        ({'patch_size': 0}, 'patch_size must be 1 to 1024, and whole, got 0'),
        ({'patch_size': 8.0}, r'patch_size must be 1 to 1024, and whole, got 8\.0'),
        ({'img_size': 30}, '30 x 30 pixels do not divide into patches of 8'),
        ({'img_size': '32'}, "img_size must be height and width in pixels, got '32'"),
        ({'img_size': (32, 32, 3)}, r'img_size must be .* got \(32, 32, 3\)'),
        ({'img_size': 2**20}, '1048576 x 1048576 pixels are 17179869184 patches of 8, more than'),
        ({'with_cp': 'yes'}, "with_cp must be one of .* got 'yes'"),
        ({'adapter': 'SoMA'}, r"adapter needs a dict\(type='SoMA', ...\), got 'SoMA'"),
        ({'adapter': dict(SOMA, start_block='2')}, "start_block must be at least 0, .* got '2'"),
        ({'adapter': dict(SOMA, start_block=99)}, 'start_block 99 leaves none'),
    ],
)
def test_bad_options_are_refused(options, message):
    options = {'out_indices': [0, 1, 2, 3], **options}
    config = {'type': 'DINOv2', 'img_size': 32, 'patch_size': 8, 'arch': ARCH, **options}
    with pytest.raises(ValueError, match=message) as error:
        MODELS.build(config)
    assert '\n' not in str(error.value)


def test_default_outputs_of_the_large_model():
    with torch.device('meta'):
        model = DINOv2('large', adapter=dict(type='SoMA', rank=16, start_block=8))
    assert model.out_indices == (7, 11, 15, 23) and model.frozen_blocks == 0
    adapted = [m for m in model.modules() if isinstance(m, SoMALayer)]
    assert sum(m.groups for m in adapted) == 96
    assert sum(m.A.numel() + m.B.numel() for m in adapted) == 4_718_592
    assert sum(m.bias.numel() for m in adapted) == 147_456


def test_xformers_where_asked_for(public_file, monkeypatch):
    calls = []

    def memory_efficient_attention(q, k, v):  # (n, tokens, heads, dim), as xformers has it
        calls.append(q.shape)
        out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
        return out.transpose(1, 2)

    fake = types.ModuleType('xformers.ops')
    fake.memory_efficient_attention = memory_efficient_attention
    monkeypatch.setitem(sys.modules, 'xformers', types.ModuleType('xformers'))
    monkeypatch.setitem(sys.modules, 'xformers.ops', fake)
    x = torch.randn(1, 3, 32, 32)
    actual = build(public_file, attn_impl='xformers', adapter=SOMA).eval()(x)[-1]
    assert len(calls) == 4
    assert torch.allclose(actual, build(public_file).eval()(x)[-1], atol=1e-5)


def test_what_is_no_plain_data_of_an_architecture_is_named():
    """A card holds nothing else."""
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-5)
    model = DINOv2({**ARCH, 'norm_layer': norm}, 32, 8, out_indices=[3], pyramid=[1])
    assert model.describe()['arch'] == {**ARCH, 'norm_layer': '?'}
    assert base_card(model).arch == {**ARCH, 'norm_layer': '?'}
