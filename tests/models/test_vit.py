"""Options and files of vision transformers of timm, on small ones."""

import copy
import json
import pickle
import re

import pytest
import timm
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from mmseg.apis import init_model
from safetensors.torch import save_file
from timm_families import FAMILIES, OFFICIAL, STAGES, dinov3, make, openai, sam

from soma.adapters import adapter_names, load_adapter, save_adapter
from soma.checkpoints import export_backbone, load_plain, merge_files, open_checkpoint
from soma.checkpoints.model_use import use_of
from soma.io.checkpoint_files import read_checkpoint, read_state_dict, write_checkpoint
from soma.io.files import CheckpointError, InputError
from soma.models import TimmVisionTransformer
from soma.models.backbones.timm_network import create_network
from soma.models.build import check_widths, use_plain_model
from soma.utils.config import REPOSITORY, load_config

SOMA = dict(type='SoMA', rank=2)
FILE = dict(type='Pretrained', checkpoint='x.pth')
ALL = {**FAMILIES, **STAGES}


def build(family='DINOv3', path=None, **options):
    name, model_args = FAMILIES[family]
    options = dict(out_indices=[0, 2], pyramid=[1, 1], model_args=model_args) | options
    if path is not None:
        options['init_cfg'] = dict(type='Pretrained', checkpoint=str(path))
    model = TimmVisionTransformer(name, **options)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('dinov3') / 'dinov3_vits16_pretrain.pth'
    write_checkpoint(dinov3(make('DINOv3').state_dict()), path)
    return path


@pytest.mark.parametrize('family', ['DINOv3', 'EVA-02', 'CLIP', 'SigLIP 2', 'SAM'])
@pytest.mark.parametrize('size', [(32, 64), (40, 24)])
def test_images_of_other_sizes(family, size):
    model, x = build(family).eval(), torch.randn(2, 3, *size)
    maps = model(x)
    assert [m.shape for m in maps] == [(2, 16, size[0] // 8, size[1] // 8)] * 2
    odd = torch.randn(1, 3, size[0] - 3, size[1] - 1)
    enlarged = F.interpolate(odd, size=size, mode='bilinear', align_corners=False)
    assert all(map(torch.equal, model(odd), model(enlarged)))


def test_pyramid_and_default_outputs():
    name, options = FAMILIES['DINOv3']
    model = TimmVisionTransformer(name, model_args=options | dict(depth=6))
    assert model.out_indices == (1, 2, 3, 5)
    sides = [m.shape[-1] for m in model(torch.randn(1, 3, 32, 32))]
    assert sides == [16, 8, 4, 2]


def test_positions_and_patches_of_another_size(tmp_path):
    """As timm resizes them, who knows what the files have."""
    name, options = FAMILIES['CLIP']
    network = create_network(name, options | dict(img_size=336, patch_size=14))
    write_checkpoint(openai(network.state_dict()), tmp_path / 'clip.pth')
    model = build('CLIP', tmp_path / 'clip.pth', img_size=(32, 64), patch_size=16)
    assert model.pos_embed.shape == (1, 1 + 2 * 4, 16) and model.patch_embed.patch_size == (16, 16)
    timm_file = tmp_path / 'timm.safetensors'
    write_checkpoint(network.state_dict(), timm_file)
    again = build('CLIP', timm_file, img_size=(32, 64), patch_size=16)
    assert torch.equal(again.pos_embed, model.pos_embed)
    # what is of the model's size already is not resized, though 4 x 2 patches are as many
    write_checkpoint(again.state_dict(), tmp_path / 'merged.pth')
    merged = build('CLIP', tmp_path / 'merged.pth', img_size=(32, 64), patch_size=16)
    assert torch.equal(merged.pos_embed, model.pos_embed)
    assert torch.equal(merged.patch_embed.proj.weight, model.patch_embed.proj.weight)


def test_what_trains(file):
    def trained(**options):
        return {n for n, p in build(path=file, **options).named_parameters() if p.requires_grad}

    full = trained()
    assert 'reg_token' in full and not any(name.startswith('norm.') for name in full)
    assert trained(frozen_blocks=2) == {n for n in full if n.startswith('blocks.2.')}
    assert trained(frozen_parameters=r'(cls|reg)_token') == full - {'cls_token', 'reg_token'}
    early = trained(out_indices=[0, 1], adapter=SOMA)
    assert early and not any(name.startswith('blocks.2.') for name in early)
    late = trained(adapter=SOMA, frozen_blocks=2)
    assert late and all(name.startswith('blocks.2.') for name in late)


def test_recomputed_blocks_have_the_same_gradients(file):
    x = torch.randn(1, 3, 32, 32)
    models = [build(path=file, adapter=SOMA, with_cp=flag) for flag in (False, True)]
    for model in models:
        sum(m.square().sum() for m in model(x)).backward()
    for name in adapter_names(models[0]):
        grads = [model.get_parameter(name).grad for model in models]
        assert grads[0] is not None and torch.allclose(*grads, rtol=1e-5), name


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_its_own(duplicate, file):
    model = build(path=file, adapter=SOMA).eval()
    twin, x = duplicate(model), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        assert type(twin) is type(model) and isinstance(twin, TimmVisionTransformer)
        for parameter in twin.parameters():
            parameter.zero_()
        assert all(map(torch.equal, model(x), expected))


def test_parts_fill_a_base_in_half_precision_without_a_second_copy(file, tmp_path):
    """The network has no memory before, and the split is of the weights in the file."""
    network = make('DINOv3')
    state = network.state_dict()
    first = {name: value for name, value in state.items() if name.startswith('blocks.0.')}
    rest = {name: value for name, value in state.items() if name not in first}
    save_file(first, tmp_path / 'model-1.safetensors')
    save_file(rest, tmp_path / 'model-2.safetensors')
    places = dict.fromkeys(first, 'model-1.safetensors') | dict.fromkeys(
        rest, 'model-2.safetensors'
    )
    index = tmp_path / 'model.safetensors.index.json'
    index.write_text(json.dumps({'weight_map': places}))
    assert all(torch.equal(state[n], v) for n, v in read_checkpoint(index).items())
    model = build(path=index, adapter=SOMA, base_dtype='bfloat16')
    full = build(path=file, adapter=SOMA)
    halves = {n for n, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert halves == {n for n, p in full.named_parameters() if n.endswith('weight') and p.ndim == 2}
    for name, value in model.state_dict().items():
        assert torch.equal(value, full.state_dict()[name].to(value.dtype)), name
    maps = model(torch.randn(1, 3, 32, 32))
    assert all(m.dtype == torch.float32 for m in maps)
    for places, message in (
        ({'a': '../model-1.safetensors'}, 'no file beside it'),
        ({'a': 'model-1.safetensors'}, 'names tensors that its files lack: a'),
        ({'a': 'model-3.safetensors'}, 'no checkpoint at .*model-3'),
    ):
        index.write_text(json.dumps({'weight_map': places}))
        with pytest.raises((CheckpointError, FileNotFoundError), match=message):
            read_checkpoint(index)
    index.write_text('[')
    with pytest.raises(CheckpointError, match='damaged'):
        read_checkpoint(index)


def without(*names):
    return lambda state: {n: v for n, v in state.items() if n not in names}


@pytest.mark.parametrize(
    ('family', 'change', 'message'),
    [
        ('DINOv3', without('blocks.1.mlp.fc1.bias'), 'missing: blocks.1.mlp.fc1.bias'),
        ('DINOv3', lambda s: {**s, 'adapter.weight': s['norm.weight'] + 1}, 'use: adapter.weight'),
        ('DINOv3', lambda s: {**s, 'cls_token': torch.zeros(1, 1, 8)}, r'cls_token is \[1, 1, 8\]'),
        (
            'DINOv3',
            lambda s: dinov3(make('DINOv3 qkvb').state_dict()),
            'qkv.bias.*dinov3_qkvb: take that',
        ),
        ('DINOv3', lambda s: make('DINOv3 qkvb').state_dict(), 'take that'),
        (
            'DINOv3 qkvb',
            lambda s: make('DINOv3').state_dict(),
            r'kvb from .*_dinov3: take',
        ),
        (
            'DINOv2',
            lambda s: make('DINOv2 registers').state_dict(),
            'reg4|reg_token',
        ),
        ('SAM', lambda s: {**sam(s), 'image_encoder.x': torch.ones(1)}, 'of no known use: .*x'),
        (
            'SAM',
            lambda s: {**s, 'pos_embed': torch.zeros(1, 8, 8, 16)},
            r'pos_embed is \[1, 8, 8, 16\] .* leave img_size and patch_size out',
        ),
        ('DINOv3', lambda s: {'reg_token': s['reg_token']}, 'missing: .* there are reg_token'),
        ('DINOv3', lambda s: {**s, 'cls_token': s['cls_token'] * torch.nan}, 'NaN or infinity'),
    ],
)
def test_files_that_do_not_fit_are_refused(family, change, message, tmp_path):
    write_checkpoint(change(make(family).state_dict()), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=message) as error:
        build(family, tmp_path / 'x.pth')
    assert 'x.pth' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(model_name='vit_large_patch16_dinov4'), "no model.*is it one of.*_dinov3'"),
        (dict(model_name='convnext_tiny'), 'several resolutions: .*AdaptedBackbone.*TimmPyramid'),
        (dict(model_args=dict(pretrained=True)), 'pretrained is no option here'),
        (dict(model_args=dict(depth=10**9)), 'depth must be up to 1000'),
        (dict(model_args=dict(hidden=3)), "unexpected keyword argument 'hidden'"),
        (dict(out_indices=[5, 99]), r'out_indices must ascend within 0 to 11'),
        (dict(adapter=SOMA, frozen_parameters='x'), 'leave frozen_parameters out'),
        (dict(base_dtype='float16'), "base_dtype must be one of .*, got 'float16'"),
        (dict(init_cfg=dict(type='Pretrained')), 'init_cfg must be'),
        (dict(model_name='qwen3_vit_88m', init_cfg=FILE), 'has no list of blocks'),
        (dict(model_args=dict(norm_layer='foo')), r"vit_small_patch16_dinov3 with .*: .*'foo'"),
        (dict(model_args=dict(depth='3')), "depth must be up to 1000, and whole, got '3'"),
        (dict(model_name='convit_tiny', with_cp=True), 'leave with_cp out'),
    ],
)
def test_bad_options_are_refused(options, message):
    options = dict(model_name='vit_small_patch16_dinov3') | options
    with pytest.raises(ValueError, match=f'^TimmVisionTransformer: .*{message}'):
        MODELS.build(dict(type='TimmVisionTransformer', **options))


def test_cards_name_the_network_and_its_weights(file, tmp_path):
    model = build(path=file, adapter=SOMA).eval()
    for name in adapter_names(model):
        model.get_parameter(name).data.add_(0.1)
    adapter, x = tmp_path / 'adapter.safetensors', torch.randn(1, 3, 32, 32)
    save_adapter(model, adapter)
    base = open_checkpoint(adapter).card.base
    name, options = FAMILIES['DINOv3']
    assert (base.arch, base.timm_options) == (name, options) and base.img_size is None
    again = build(path=file).eval()
    load_adapter(again, adapter)
    with torch.no_grad():
        assert all(map(torch.equal, again(x), model(x)))
    other = tmp_path / 'other.pth'
    state = make('DINOv3').state_dict()
    write_checkpoint({**state, 'reg_token': state['reg_token'] + 1}, other)
    with pytest.raises(CheckpointError, match='was trained on the pretrained weights'):
        merge_files(other, adapter, tmp_path / 'merged.pth')
    count = export_backbone(adapter, tmp_path / 'timm.pth', 'timm', file)
    network = make('DINOv3')
    assert count == len(network.state_dict())
    network.load_state_dict(read_state_dict(tmp_path / 'timm.pth'))
    with torch.no_grad(), pytest.raises(CheckpointError, match='another backbone than DINOv2'):
        maps = network.forward_intermediates(x, indices=[0, 2], intermediates_only=True)
        for actual, expected in zip(maps, model(x), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        export_backbone(adapter, tmp_path / 'dinov2.pth', 'dinov2', file)
    merged = tmp_path / 'merged.pth'
    merge_files(file, adapter, merged)
    assert export_backbone(merged, tmp_path / 'again.pth', 'timm') == count
    write_checkpoint({f'backbone.{n}': v for n, v in read_state_dict(merged).items()}, other)
    for weights in (merged, other):  # the other has no card
        with pytest.raises(CheckpointError, match='another backbone than DINOv2'):
            export_backbone(weights, tmp_path / 'dinov2.pth', 'dinov2')


def test_a_card_runs_nothing(file, tmp_path):
    """What a file says of a network is looked up among timm's, and reads no other file."""
    model = build(path=file, adapter=SOMA)
    for about, message in (
        (dict(arch='hf-hub:someone/model'), 'timm has no model'),
        (dict(timm_options=dict(checkpoint_path='/etc/passwd')), 'is no option here'),
    ):
        save_adapter(model, tmp_path / 'a.safetensors')
        content = read_checkpoint(tmp_path / 'a.safetensors')
        content['meta']['soma']['base'].update(about)
        write_checkpoint(content, tmp_path / 'a.safetensors')
        with pytest.raises(CheckpointError, match=message):
            merge_files(file, tmp_path / 'a.safetensors', tmp_path / 'out.pth')


@pytest.mark.parametrize(
    'family', ['SAM', *(pytest.param(f, marks=pytest.mark.slow) for f in ('DINOv3', 'Swin'))]
)
def test_training_resumes_exactly_and_is_tested_from_the_adapter(
    family, tiny_config, build_runner, tmp_path
):
    base = tmp_path / 'official.pth'
    write_checkpoint(OFFICIAL[family][0](make(family).state_dict()), base)
    name, model_args = ALL[family]
    network = dict(model_name=name, model_args=model_args)
    network |= dict(init_cfg=dict(type='Pretrained', checkpoint=str(base)))
    if family in FAMILIES:
        network |= dict(type='TimmVisionTransformer', out_indices=[0, 1, 2], pyramid=[1] * 3)
        backbone, widths = dict(network, adapter=SOMA), [16] * 3
    else:
        backbone = dict(type='AdaptedBackbone', backbone=dict(network, type='TimmPyramid'))
        backbone, widths = dict(backbone, adapter=SOMA), [8, 16, 32, 64]
    config = copy.deepcopy(tiny_config)
    config.model.backbone = backbone
    config.model.decode_head.update(in_channels=widths[-1], in_index=len(widths) - 1)
    options = {'default_hooks.checkpoint': dict(type='AdapterCheckpointHook', interval=2)}
    whole = build_runner(config, options | {'work_dir': str(tmp_path / 'whole')})
    whole.train()
    build_runner(config, options | {'train_cfg.max_iters': 2}).train()
    runner = build_runner(config, options | {'resume': True})
    runner.train()
    states = [r.model.state_dict() for r in (runner, whole)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    use_plain_model(config)
    model = init_model(config, None, device='cpu')
    load_plain(model, f'{runner.work_dir}/iter_4.pth', base)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = whole.model.eval()(x, mode='tensor')
        torch.testing.assert_close(model.eval()(x, mode='tensor'), expected, rtol=1e-4, atol=1e-4)


def test_the_configs_of_the_guide(tmp_path):
    guide = (REPOSITORY / 'docs/user_guides/foundation_models.md').read_text()
    clip, convnext = re.findall(r'```python\n(.+?)```', guide, re.DOTALL)
    (tmp_path / 'clip.py').write_text(clip.replace("'configs/", f"'{REPOSITORY}/configs/"))
    backbone = load_config(tmp_path / 'clip.py').model.backbone
    assert len(clip.splitlines()) - 4 <= 12 and backbone.pop('init_cfg').type == 'Pretrained'
    backbone.model_args = dict(embed_dim=16, depth=24, num_heads=2)
    maps = MODELS.build(backbone)(torch.randn(1, 3, 64, 64))
    assert [m.shape for m in maps] == [(1, 16, 4, 4)] * 4
    scope: dict = {}
    exec(convnext, scope)
    backbone = scope['backbone']
    backbone['adapter'].update(rank=2)
    backbone['backbone'].update(init_cfg=None, model_args=STAGES['ConvNeXt'][1])
    maps = MODELS.build(backbone)(torch.randn(1, 3, 60, 64))
    assert [m.shape[2:] for m in maps] == [(16, 16), (8, 8), (4, 4), (2, 2)]


def test_the_page_of_a_model_makes_its_network(file, tmp_path):
    save_adapter(build(path=file, adapter=SOMA), tmp_path / 'a.safetensors')
    page = use_of(open_checkpoint(tmp_path / 'a.safetensors').card, 'me/model')
    code = re.search(r'^import timm\n+(backbone = .+)$', page, re.MULTILINE)
    scope = {'timm': timm}
    exec(code[1], scope)
    scope['backbone'].load_state_dict(make('DINOv3').state_dict())


def test_a_head_of_another_width_is_told_of(tiny_config, build_runner):
    name, model_args = FAMILIES['DINOv3']
    backbone = dict(type='TimmVisionTransformer', model_name=name, model_args=model_args)
    tiny_config.model.backbone = dict(backbone, out_indices=[0, 2], pyramid=[1, 1])
    tiny_config.model.decode_head.update(in_index=1, in_channels=24)
    message = r'model.decode_head.in_channels must be 16, .*vit_small_patch16_dinov3, got 24'
    with pytest.raises(InputError, match=message):
        build_runner(tiny_config)
    model = torch.nn.ModuleDict({'backbone': build()})
    fits, wrong = dict(in_channels=(16, 16)), dict(in_channels=[16, 24], in_index=[0, 1])
    check_widths(model, dict(neck=fits, decode_head=wrong))
    check_widths(torch.nn.ModuleDict(), dict(neck=wrong))
    for part in ('neck', 'decode_head'):
        with pytest.raises(InputError, match=rf'{part}.in_channels must be \[16, 16\], .*24\]'):
            check_widths(model, {part: wrong})
