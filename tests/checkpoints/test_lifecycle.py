"""Train, extract, merge, test: the same logits all along; and the original release's files."""

import copy
from pathlib import Path

import pytest
import torch
from dinov2_names import to_timm, to_transformers
from mmseg.apis import init_model
from release_names import soma_adapter
from timm.models.vision_transformer import VisionTransformer

from soma.adapters import (
    ADAPTERS,
    AdapterLayer,
    LayerConfig,
    LowRankConfig,
    adapter_names,
    load_adapter,
)
from soma.checkpoints import (
    convert_dinov2_file,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)
from soma.models import DINOv2
from soma.models.build import LeftOut, use_plain_model

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
HOOKS = [dict(type='BlockFreezeHook')]
METHODS = {
    'plain': {},
    'alpha': {'model.backbone.adapter.alpha': 6.0},
    'bias': {'model.backbone.adapter.train_bias': False},
    'ema': {'custom_hooks': [*HOOKS, dict(type='TrainableEMAHook', momentum=0.3)]},
    'mmengine': {'custom_hooks': [*HOOKS, dict(type='EMAHook', momentum=0.3)]},
    'adapter': {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'},
    'adapter ema': {
        'default_hooks.checkpoint.type': 'AdapterCheckpointHook',
        'custom_hooks': [*HOOKS, dict(type='TrainableEMAHook', momentum=0.3)],
    },
}
# The other adapters of layers, with checkpoints that leave out the base.
OTHERS = [k for k, c in ADAPTERS.items() if issubclass(c, LayerConfig) and k != 'SoMA']
for kind in OTHERS:
    rank = dict(rank=2, alpha=2.0) if issubclass(ADAPTERS[kind], LowRankConfig) else {}
    METHODS[kind] = {
        'default_hooks.checkpoint.type': 'AdapterCheckpointHook',
        'model.backbone.adapter': dict(type=kind, start_block=2, _delete_=True, **rank),
    }


@pytest.fixture
def converted(public_file, tmp_path):
    convert_dinov2_file(public_file, tmp_path / 'converted.pth', (32, 32), 8)
    return tmp_path / 'converted.pth'


@pytest.fixture
def plain_model(tiny_config):
    """Build the model of the tiny config without an adapter, with random weights."""

    def build():
        config = copy.deepcopy(tiny_config)
        use_plain_model(config)
        model = init_model(config, None, device='cpu').eval()
        assert not any(isinstance(module, AdapterLayer) for module in model.modules())
        return model

    return build


def logits(model, x):
    with torch.no_grad():
        return model.eval()(x, mode='tensor')


# Those whose checkpoints differ in what a training goes on from.
RESUMED = ('plain', 'ema', 'mmengine', 'adapter ema', 'SVF')
# Each is like another one here.
SLOW = {'alpha', 'bias', 'ema', 'mmengine', 'adapter', *OTHERS} - {'LoRA', 'SVF'}


@pytest.mark.parametrize(
    'method',
    [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in METHODS],
)
def test_the_same_logits_all_along(
    tiny_config, build_runner, plain_model, converted, tmp_path, method
):
    tiny_config.model.backbone.init_cfg.checkpoint = str(converted)
    options = {**METHODS[method], 'default_hooks.checkpoint.interval': 2}
    if method in RESUMED:
        build_runner(tiny_config, {**options, 'train_cfg.max_iters': 2}).train()
        options['resume'] = True
    build_runner(tiny_config, options).train()
    final = f'{tiny_config.work_dir}/iter_4.pth'
    x = torch.randn(2, 3, 32, 32)

    # the checkpoint in the adapted model that it was written from
    runner = build_runner(tiny_config, options | {'resume': False, 'custom_hooks': HOOKS})
    runner.model.init_weights()
    start = {name: value.clone() for name, value in runner.model.state_dict().items()}
    runner.load_checkpoint(final)
    expected = logits(runner.model, x)
    backbone = runner.model.backbone
    trained = {f'backbone.{name}' for name in adapter_names(backbone)}
    assert trained
    moved = {n for n, v in runner.model.state_dict().items() if not torch.equal(v, start[n])}
    # A random start is drawn anew here; it is no part of what trains alone.
    assert trained <= moved

    for suffix in ('.pth', '.safetensors'):
        card = extract_adapter(final, tmp_path / f'adapter{suffix}')
        alpha = METHODS[method].get('model.backbone.adapter.alpha', 2)
        assert card.settings.get('alpha', 2) == alpha
    # each kind of file is made from one of the other suffix
    adapter, merged = (tmp_path / f'{name}.safetensors' for name in ('adapter', 'merged'))
    kept = tmp_path / 'kept.pth'
    merge_files(converted, tmp_path / 'adapter.pth', merged)
    merge_files(converted, adapter, kept, keep_adapter=True)
    for path, base in ((final, converted), (adapter, converted), (merged, None), (kept, None)):
        model = plain_model()
        load_plain(model, path, base)
        difference = (logits(model, x) - expected).abs().max()
        assert difference <= 1e-5, f'{path}: {difference}'

    # nothing but plain names in the merged file, nothing of the base in the adapter file
    assert read_state_dict(merged).keys() == plain_model().state_dict().keys()
    own = read_state_dict(adapter)
    names = {name for name in own if name.startswith('backbone.')}
    assert trained <= names
    assert all(name.endswith(('.A0', '.B0', '.B', '.S0')) for name in names - trained)
    # the unfolded file can be trained on, the adapter file too
    for file in (kept, adapter):
        options = {'work_dir': str(tmp_path / 'on'), 'train_cfg.max_iters': 1}
        options |= {'load_from': str(file), 'optim_wrapper.optimizer.lr': 0.0}
        options |= {k: v for k, v in METHODS[method].items() if 'backbone.adapter' in k}
        again = build_runner(tiny_config, options)
        again.train()
        assert torch.equal(logits(again.model, x), expected)

    # outside OpenMMLab: the backbone alone
    sizes = dict(arch=ARCH, img_size=32, patch_size=8, out_indices=[0, 1, 2, 3])
    alone = DINOv2(**sizes, init_cfg=dict(type='Pretrained', checkpoint=str(converted)))
    alone.init_weights()
    load_adapter(alone, adapter, part='backbone')
    for ours, theirs in zip(alone.eval()(x), backbone.eval()(x), strict=True):
        assert torch.equal(ours, theirs)


def by_hand(converted, release, scale):
    """timm's network with ``W + s B A``."""
    state = {k: v for k, v in read_state_dict(converted).items() if k != 'mask_token'}
    for block in (2, 3):
        for name in ('qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2'):
            parts = [f'attn.{part}' for part in 'qkv'] if name == 'qkv' else [name]
            keys = [f'backbone.model.blocks.{block}.{part}' for part in parts]
            delta = [release[f'{k}.lora_B.weight'] @ release[f'{k}.lora_A.weight'] for k in keys]
            ours = f'blocks.{block}.{"attn.qkv" if name == "qkv" else name}'
            state[f'{ours}.weight'] = state[f'{ours}.weight'] + scale * torch.cat(delta)
            state[f'{ours}.bias'] = torch.cat([release[f'{k}.bias'] for k in keys])
    model = VisionTransformer(img_size=32, patch_size=8, init_values=1, num_classes=0, **ARCH)
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize('alpha', [None, 5.0])
@pytest.mark.parametrize('form', ['bare', 'state_dict', 'ema_state_dict', 'both'])
def test_the_releases_files_mean_w_plus_s_b_a(
    tiny_config, build_runner, converted, plain_model, tmp_path, form, alpha
):
    model = plain_model()
    release = soma_adapter(head=model.decode_head.state_dict())
    average = {f'module.{name}': value for name, value in release.items()}
    other = {name: value + 1 for name, value in release.items()}
    content = {
        'bare': release,
        'state_dict': {'state_dict': release},
        'ema_state_dict': {'ema_state_dict': {**average, 'steps': torch.tensor(3)}},
        'both': {'state_dict': release, 'ema_state_dict': {f'module.{k}': other[k] for k in other}},
    }[form]
    torch.save(content, tmp_path / 'release.pth')
    x = torch.randn(1, 3, 32, 32)
    scale = 1 if alpha is None else alpha / 2
    expected = by_hand(converted, release, scale).forward_intermediates(x, intermediates_only=True)

    merge_files(converted, tmp_path / 'release.pth', tmp_path / 'merged.pth', alpha=alpha)
    extract_adapter(tmp_path / 'release.pth', tmp_path / 'ours.safetensors', alpha=alpha)
    files = {'merged': dict(path=tmp_path / 'merged.pth')}
    files['extracted'] = dict(path=tmp_path / 'ours.safetensors', base=converted)
    if alpha is None:
        files['release'] = dict(path=tmp_path / 'release.pth', base=converted)
    for arguments in files.values():
        load_plain(model, **arguments)
        with torch.no_grad():
            maps = model.backbone(x)
        for ours, theirs, factor in zip(maps, expected, (4, 2, 1, 0.5), strict=True):
            theirs = torch.nn.functional.interpolate(theirs, scale_factor=factor, mode='bilinear')
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    if alpha is None:  # and trained on
        tiny_config.model.backbone.init_cfg.checkpoint = str(converted)
        options = {'load_from': str(tmp_path / 'release.pth'), 'optim_wrapper.optimizer.lr': 0.0}
        runner = build_runner(tiny_config, options)
        runner.train()
        assert (logits(runner.model, x) - logits(model, x)).abs().max() < 1e-5


def test_the_part_with_the_optimizers_weights(converted, tmp_path):
    one, two = soma_adapter(), soma_adapter()
    two = {f'module.{name}': value for name, value in two.items()}
    torch.save({'state_dict': one, 'ema_state_dict': two}, tmp_path / 'x.pth')
    for part, state in (('state_dict', one), ('ema_state_dict', two)):
        extract_adapter(tmp_path / 'x.pth', tmp_path / 'out.pth', part)
        prefix = 'module.' if part == 'ema_state_dict' else ''
        expected = state[f'{prefix}backbone.model.blocks.3.mlp.fc1.lora_A.weight']
        found = read_state_dict(tmp_path / 'out.pth')['backbone.blocks.3.mlp.fc1.A']
        assert torch.equal(found, expected)
    torch.save({'state_dict': one}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth holds no ema_state_dict'):
        extract_adapter(tmp_path / 'x.pth', tmp_path / 'out.pth', 'ema_state_dict')


@pytest.fixture
def trained(tiny_config, build_runner, converted):
    """A training checkpoint on the converted file."""
    tiny_config.model.backbone.init_cfg.checkpoint = str(converted)
    build_runner(tiny_config).train()
    return f'{tiny_config.work_dir}/iter_4.pth'


@pytest.fixture
def adapter(trained, tmp_path):
    extract_adapter(trained, tmp_path / 'adapter.safetensors')
    return tmp_path / 'adapter.safetensors'


def test_the_card_says_what_the_file_is(adapter, converted):
    card = card_of(read_checkpoint(adapter))
    assert (card['method'], card['rank'], card['alpha'], card['start_block']) == ('SoMA', 2, 2, 2)
    assert card['base']['arch'] == ARCH and card['base']['patch_size'] == 8
    assert card['base']['img_size'] == [32, 32] and len(card['base']['hash']) == 64
    assert len(card['classes']) == len(card['palette']) == 19
    assert card['iteration'] == 4 and 'type' in card['config'] and card['soma_version']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda s: s['blocks.3.mlp.fc1.weight'].add_(1e-5),
            'was trained on the pretrained weights',
        ),
        (lambda s: s['blocks.0.norm1.weight'].add_(1), 'arch .*img_size .*file'),
        (lambda s: s.pop('blocks.3.norm1.weight'), 'was trained on the pretrained weights'),
        (lambda s: s.update(pos_embed=torch.randn(1, 26, 16)), 'another pos_embed than'),
        (lambda s: s['pos_embed'].add_(0.01), 'another pos_embed than'),
        (lambda s: s.pop('cls_token'), 'no DINOv2 weights'),
    ],
)
def test_another_base_is_refused(adapter, converted, plain_model, tmp_path, change, message):
    state = read_state_dict(converted)
    change(state)
    write_checkpoint(state, tmp_path / 'other.pth')
    arguments = (tmp_path / 'other.pth', adapter, tmp_path / 'merged.pth')
    with pytest.raises(CheckpointError, match=message):
        merge_files(*arguments)
    with pytest.raises(CheckpointError, match=message):
        load_plain(plain_model(), adapter, tmp_path / 'other.pth')
    assert not (tmp_path / 'merged.pth').exists()
    if 'pretrained weights' in message or 'pos_embed' in message:
        merge_files(*arguments, force=True)
        assert (tmp_path / 'merged.pth').exists()


@pytest.mark.parametrize('interp', ['exact', 'dinov2'])
def test_positions_are_resized_as_in_training(
    tiny_config, build_runner, public_file, plain_model, tmp_path, interp
):
    tiny_config.model.backbone.pos_embed_interp = interp
    runner = build_runner(tiny_config)
    runner.train()
    extract_adapter(f'{tiny_config.work_dir}/iter_4.pth', tmp_path / 'adapter.safetensors')
    model = plain_model()
    load_plain(model, tmp_path / 'adapter.safetensors', public_file)
    x = torch.randn(2, 3, 32, 32)
    assert (logits(model, x) - logits(runner.model, x)).abs().max() < 1e-5
    other = 'exact' if interp == 'dinov2' else 'dinov2'
    convert_dinov2_file(public_file, tmp_path / 'other.pth', (32, 32), 8, other)
    with pytest.raises(CheckpointError, match='another pos_embed than'):
        load_plain(model, tmp_path / 'adapter.safetensors', tmp_path / 'other.pth')


def test_the_published_file_is_converted_on_the_way(public_file, tmp_path, converted, adapter):
    kernel = torch.randn(16, 3, 14, 14)
    # what the tests call published has patches of 14 pixels
    assert read_state_dict(public_file)['patch_embed.proj.weight'].shape == kernel.shape
    state = open_checkpoint(adapter).with_base(public_file).plain()
    again = open_checkpoint(adapter).with_base(converted).plain()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[name], again[name]) for name in state)


@pytest.mark.parametrize('rename', [to_transformers, to_timm])
def test_the_base_may_have_other_names(converted, adapter, plain_model, tmp_path, rename):
    write_checkpoint(rename(read_state_dict(converted)), tmp_path / 'other.pth')
    ours, theirs = plain_model(), plain_model()
    load_plain(ours, adapter, tmp_path / 'other.pth')
    load_plain(theirs, adapter, converted)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(logits(ours, x), logits(theirs, x))


def test_an_adapter_alone_finds_the_base_of_its_card_or_asks(
    adapter, converted, plain_model, tmp_path, monkeypatch
):
    load_plain(named := plain_model(), adapter, converted)
    others = {name: value + 1 for name, value in read_state_dict(converted).items()}
    write_checkpoint(others, other := tmp_path / 'other.pth')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'checkpoints').mkdir()
    card_names = Path(converted)
    for moved in (card_names, tmp_path / 'checkpoints' / card_names.name):
        Path(converted).rename(moved)
        for config in (None, 'nowhere.pth', str(other), 'dinov2_vits14'):
            load_plain(found := plain_model(), adapter, left_out=LeftOut(config))
            state = found.state_dict()
            assert all(torch.equal(state[n], v) for n, v in named.state_dict().items())
    other.rename(moved)  # of its name, but not it
    with pytest.raises(
        CheckpointError, match=r'but \S+/converted\.pth holds .*; or name your file as base'
    ):
        load_plain(plain_model(), adapter)
    moved.unlink()
    with pytest.raises(CheckpointError, match='no pretrained weights: name their file as base'):
        load_plain(plain_model(), adapter)


def test_what_holds_no_adapter_is_refused(converted, tmp_path):
    with pytest.raises(CheckpointError, match='holds no adapter'):
        extract_adapter(converted, tmp_path / 'x.safetensors')
    with pytest.raises(CheckpointError, match='holds no adapter'):
        merge_files(converted, converted, tmp_path / 'x.safetensors')
    assert not (tmp_path / 'x.safetensors').exists()


@pytest.mark.parametrize('hook', ['CheckpointHook', 'AdapterCheckpointHook'])
def test_the_part_that_the_optimizer_works_on(tiny_config, build_runner, tmp_path, hook):
    ema = {'custom_hooks': [dict(type='TrainableEMAHook', momentum=0.3)]}
    runner = build_runner(tiny_config, {'default_hooks.checkpoint.type': hook, **ema})
    runner.train()
    final = f'{runner.work_dir}/iter_4.pth'
    for part, same in (('ema_state_dict', True), ('state_dict', False)):
        extract_adapter(final, tmp_path / 'x.safetensors', part)
        found, model = read_state_dict(tmp_path / 'x.safetensors'), runner.model.state_dict()
        assert {n for n in found if n.endswith('.A0')} and 'decode_head.conv_seg.weight' in found
        assert all(torch.equal(found[name], model[name]) for name in found) == same


def test_a_whole_model_may_hold_the_base(adapter, converted, plain_model, build_runner, tmp_path):
    state = {f'backbone.{n}': value for n, value in read_state_dict(converted).items()}
    write_checkpoint({'state_dict': {**state, 'head': torch.ones(1)}}, tmp_path / 'whole.pth')
    ours, theirs = plain_model(), plain_model()
    load_plain(ours, adapter, tmp_path / 'whole.pth')
    load_plain(theirs, adapter, converted)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(logits(ours, x), logits(theirs, x))


def test_alpha_is_asked_for_only_where_no_card_says_it(adapter, tmp_path):
    with pytest.raises(CheckpointError, match=r'says that its alpha is 2\.0'):
        extract_adapter(adapter, tmp_path / 'x.safetensors', alpha=4.0)
