import os

import pytest
import torch
from mmengine.logging import HistoryBuffer
from timm.models.vision_transformer import VisionTransformer

from soma.adapters import SoMALayer
from soma.engine import SomaRunner
from soma.io.checkpoint_files import (
    CheckpointError,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)
from soma.models.backbones.dinov2_weights import convert_dinov2

ARCH = dict(embed_dim=16, depth=4, num_heads=2)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('bomb_went_off',)


class Grab:
    """Allowed names must not lead to others: ``HistoryBuffer.__init__.__globals__`` ..."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


def timm_maps(state, x):
    """Block outputs of timm's own network with weights under the public names."""
    model = VisionTransformer(img_size=32, patch_size=8, init_values=1, num_classes=0, **ARCH)
    state = convert_dinov2(state, (32, 32), 8)
    model.load_state_dict({k: v for k, v in state.items() if k != 'mask_token'})
    return model.forward_intermediates(x, intermediates_only=True)


def first_pass(build_runner, config, options=None):
    """Train for one iteration; what entered and left the backbone in it, and the runner."""
    seen = []

    def watch(runner):
        runner.model.backbone.register_forward_hook(lambda _, x, maps: seen.append((x[0], maps)))

    options = {'train_cfg.max_iters': 1, 'model.backbone.pyramid': [1] * 4, **(options or {})}
    runner = build_runner(config, options, before_train=watch)
    runner.train()
    return (*seen[0], runner)


def saved(runner_or_folder, iteration):
    folder = getattr(runner_or_folder, 'work_dir', runner_or_folder)
    return read_checkpoint(f'{folder}/iter_{iteration}.pth')


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    assert [k for k in actual if not torch.equal(actual[k], expected[k])] == []


@pytest.fixture
def plain_file(tiny_config, build_runner, tmp_path):
    """A checkpoint of a model without an adapter, with other weights than the public file's."""
    config = tiny_config.copy()
    config.model.backbone.adapter = None
    model = build_runner(config).model
    state = {k: v + 0.1 * torch.randn_like(v) for k, v in model.state_dict().items()}
    write_checkpoint({'state_dict': state, 'meta': {}}, tmp_path / 'plain.pth')
    return tmp_path / 'plain.pth'


@pytest.fixture
def trained_file(tiny_config, build_runner):
    runner = build_runner(tiny_config, {'work_dir': f'{tiny_config.work_dir}_trained'})
    runner.train()
    return f'{runner.work_dir}/iter_4.pth'


@pytest.mark.parametrize('converted', [False, True])
@pytest.mark.parametrize('adapter', [True, False])
def test_step_zero_equals_timm(
    public_file, tiny_config, build_runner, tmp_path, converted, adapter
):
    state = read_state_dict(public_file)
    if converted:
        file = tmp_path / 'converted.pth'
        write_checkpoint(convert_dinov2(state, (32, 32), 8), file)
        tiny_config.model.backbone.init_cfg.checkpoint = str(file)
    if not adapter:
        tiny_config.model.backbone.adapter = None
    x, maps, runner = first_pass(build_runner, tiny_config)
    assert maps[-1].requires_grad
    assert any(isinstance(m, SoMALayer) for m in runner.model.modules()) == adapter
    for actual, expected in zip(maps, timm_maps(state, x), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize('kind', ['.pth', '.safetensors', 'module.'])
def test_plain_weights_in_load_from_are_split_anew(
    tiny_config, build_runner, plain_file, tmp_path, kind
):
    state = read_state_dict(plain_file)
    file = tmp_path / ('again.safetensors' if kind == '.safetensors' else 'again.pth')
    prefix = kind if kind == 'module.' else ''
    write_checkpoint({prefix + key: value for key, value in state.items()}, file)
    before = {}

    def remember(runner):
        before.update({k: v.clone() for k, v in runner.model.state_dict().items()})

    config = tiny_config.copy()
    config.custom_hooks = [dict(type='EMAHook')]
    config.load_from = str(file)
    x, maps, runner = first_pass(build_runner, config, {'optim_wrapper.optimizer.lr': 0.0})
    backbone = {k.removeprefix('backbone.'): v for k, v in state.items() if k[:9] == 'backbone.'}
    for actual, expected in zip(maps, timm_maps(backbone, x), strict=True):
        assert torch.equal(actual, expected)
    loaded = runner.model.state_dict()
    assert_equal({k: loaded[k] for k in state}, state)
    for name, layer in runner.model.named_modules():
        if isinstance(layer, SoMALayer):
            again = type(layer).from_plain(layer, layer.rank, groups=layer.groups)
            again.split_()
            assert torch.equal(layer.weight, state[f'{name}.weight'])
            assert layer.A0.any() and torch.equal(layer.A0, again.A0)
            assert torch.equal(layer.B0, again.B0)


def test_resumed_training_goes_on_as_if_never_interrupted(tiny_config, build_runner, tmp_path):
    # no random numbers but the sampler's
    tiny_config.train_dataloader.dataset.pipeline.pop(2)
    options = {'model.decode_head.dropout_ratio': 0.0, 'default_hooks.checkpoint.interval': 2}
    whole = build_runner(tiny_config, options)
    whole.train()
    half, last = saved(whole, 2), saved(whole, 4)
    result = {}

    def look(runner):
        result.update({k: v.clone() for k, v in runner.model.state_dict().items()})
        assert runner.iter == 2

    options |= {'load_from': f'{whole.work_dir}/iter_2.pth', 'resume': True}
    rest = build_runner(
        tiny_config, {**options, 'work_dir': str(tmp_path / 'rest')}, before_train=look
    )
    rest.train()
    assert_equal(result, half['state_dict'])
    assert rest.iter == 4
    assert_equal(saved(rest, 4)['state_dict'], last['state_dict'])
    actual, expected = (c['optimizer']['param_groups'] for c in (saved(rest, 4), last))
    assert actual == expected
    trained = [k for k in result if not torch.equal(result[k], last['state_dict'][k])]
    assert any(k.endswith('qkv.B') for k in trained)


def test_resume_takes_the_newest_checkpoint(tiny_config, build_runner):
    build_runner(
        tiny_config, {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2}
    ).train()
    seen = []
    runner = build_runner(
        tiny_config, {'resume': True}, before_train=lambda runner: seen.append(runner.iter)
    )
    runner.train()
    assert seen == [2] and runner.iter == 4


@pytest.mark.parametrize('resume', [False, True])
@pytest.mark.parametrize('code', [Bomb, Grab])
def test_code_in_a_checkpoint_is_not_run(
    tiny_config, build_runner, tmp_path, monkeypatch, code, resume
):
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': {}, 'meta': code()}, 'x.pth')
    runner = build_runner(tiny_config, {'load_from': 'x.pth', 'resume': resume})
    with pytest.raises(ValueError, match=r'x\.pth holds more than tensors'):
        runner.train()
    assert not (tmp_path / 'bomb_went_off').exists()


def test_the_config_in_a_checkpoint_is_not_run(
    tiny_config, build_runner, trained_file, tmp_path, monkeypatch
):
    # mmengine runs it as Python
    monkeypatch.chdir(tmp_path)
    content = read_checkpoint(trained_file)
    content['meta']['config'] = "import os\nos.mkdir('bomb_went_off')\n"
    torch.save(content, 'x.pth')
    for runner in ('SomaRunner', 'Runner'):
        options = {'load_from': 'x.pth', 'resume': True, 'runner_type': runner}
        build_runner(tiny_config, options).train()
        assert not (tmp_path / 'bomb_went_off').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda s: s.pop('backbone.blocks.2.attn.qkv.A0'),
            r'does not fit the model: missing: .*qkv\.A0',
        ),
        (
            lambda s: s.pop('decode_head.conv_seg.bias'),
            r'does not fit the model: missing: .*conv_seg\.bias',
        ),
        (
            lambda s: s.update({'backbone.extra': torch.ones(1)}),
            r'does not fit the model: unexpected: .*extra',
        ),
        (
            lambda s: s.update({'decode_head.conv_seg.bias': torch.ones(3)}),
            r'does not fit the model: .*conv_seg\.bias is \[3\] there and \[19\] in the model',
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_not_tested(
    tiny_config, build_runner, trained_file, tmp_path, change, message
):
    content = read_checkpoint(trained_file)
    change(content['state_dict'])
    torch.save(content, tmp_path / 'x.pth')
    runner = build_runner(tiny_config, {'load_from': str(tmp_path / 'x.pth')})
    with pytest.raises(CheckpointError, match=message):
        runner.test()


def test_a_trained_checkpoint_gives_the_metrics_of_training(tiny_config, build_runner):
    metrics = {}
    runner = build_runner(tiny_config, after_val_epoch=lambda runner, metrics: seen(metrics))
    seen = metrics.update
    runner.train()
    again = build_runner(tiny_config, {'load_from': f'{runner.work_dir}/iter_4.pth'}).test()
    assert again == metrics and again['mean_mIoU'] > 0


@pytest.mark.parametrize('url', ['https://example.org/x.pth', 'open-mmlab://resnet50'])
def test_a_url_is_refused(tiny_config, build_runner, url):
    with pytest.raises(ValueError, match='no local file: download it first'):
        build_runner(tiny_config, {'load_from': url}).train()


def test_a_loader_has_at_most_a_worker_a_core(tiny_config, monkeypatch):
    monkeypatch.setattr('soma.utils.machine.cores', lambda: 2)
    for asked, given in ((4, 2), (1, 1)):
        options = dict(tiny_config.train_dataloader, num_workers=asked)
        assert SomaRunner.build_dataloader(options, seed=0).num_workers == given


def test_a_missing_checkpoint_is_named(tiny_config, build_runner):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint at nowhere\.pth'):
        build_runner(tiny_config, {'load_from': 'nowhere.pth'}).test()
