"""Train, extract, merge, average, test: detectors predict the same all along."""

import copy

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from small_detectors import adapted, image_sample, write_dinov2, write_resnet

from soma.adapters import SoMALayer, card_from_tensors
from soma.checkpoints import (
    average_files,
    export_backbone,
    export_peft,
    extract_adapter,
    load_plain,
    merge_files,
)
from soma.datasets.labels import BOX_CLASSES
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)
from soma.models.build import use_plain_model

KINDS = ['faster_rcnn', 'dino', 'deformable_detr']
HOOKS = {
    'whole': {},
    'adapter': {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'},
    'ema': {
        'default_hooks.checkpoint.type': 'AdapterCheckpointHook',
        'custom_hooks': [dict(type='BlockFreezeHook'), dict(type='TrainableEMAHook', momentum=0.3)],
    },
}


@pytest.fixture(scope='module', params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def base(kind, tmp_path_factory):
    """The file of pretrained weights."""
    write = write_resnet if kind == 'faster_rcnn' else write_dinov2
    path = tmp_path_factory.mktemp(kind) / 'base.pth'
    write(path)
    return path


@pytest.fixture
def config(kind, base, tiny_detector):
    """Two iterations, without a validation."""
    tiny_detector.model = adapted(kind, base)
    tiny_detector.update(dict.fromkeys(('val_dataloader', 'val_cfg', 'val_evaluator')))
    tiny_detector.default_hooks.checkpoint.interval = 2
    return tiny_detector


@pytest.fixture
def adapter(config, build_runner, base):
    """The adapter file of a training; one for all tests that only read it."""
    path = base.parent / 'adapter.safetensors'
    if not path.exists():
        build_runner(config).train()
        extract_adapter(f'{config.work_dir}/iter_2.pth', path)
    return path


@pytest.fixture
def plain_model(config):
    """Build the detector without an adapter, with random weights."""

    def build():
        plain = copy.deepcopy(config)
        use_plain_model(plain)
        init_default_scope('mmdet')
        model = MODELS.build(plain.model).eval()
        assert not any(isinstance(module, SoMALayer) for module in model.modules())
        return model

    return build


@torch.no_grad()
def predictions(model):
    """All that a detector says of two images: its feature maps, and boxes by score."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 48, 64), generator=generator, dtype=torch.uint8)
    samples = [image_sample(0, shape=(48, 64)) for _ in images]
    batch = model.eval().data_preprocessor(dict(inputs=[*images], data_samples=samples))
    values = [*model.extract_feat(batch['inputs'])]
    for found in model(**batch, mode='predict'):
        found = found.pred_instances
        assert len(found) and found.bboxes.shape == (len(found), 4)
        values += [found.scores, found.bboxes, found.labels.float()]
    return values


def assert_same(model, expected, what=''):
    for ours, theirs in zip(predictions(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4, msg=lambda m: f'{what}: {m}')


@pytest.mark.parametrize(
    'kind, hook',
    [
        pytest.param('faster_rcnn', 'whole', marks=pytest.mark.slow),
        pytest.param('faster_rcnn', 'ema', marks=pytest.mark.slow),
        ('dino', 'adapter'),
        pytest.param('dino', 'ema', marks=pytest.mark.slow),
        pytest.param('deformable_detr', 'whole', marks=pytest.mark.slow),
    ],
    indirect=['kind'],
)
def test_the_same_predictions_all_along(
    config, build_runner, plain_model, base, tmp_path, kind, hook
):
    options = HOOKS[hook]
    build_runner(config, options).train()
    final = f'{config.work_dir}/iter_2.pth'
    # the checkpoint in the adapted model that it was written from
    runner = build_runner(config, {'custom_hooks': []})
    runner.model.init_weights()
    before = predictions(runner.model)
    runner.load_checkpoint(final)
    expected = predictions(runner.model)
    assert not torch.allclose(expected[0], before[0], atol=1e-3)

    suffixes = ('.pth', '.safetensors')
    for suffix in suffixes:
        extract_adapter(final, tmp_path / f'adapter{suffix}')
    # each kind of file is made from one of the other suffix
    adapter, merged = (tmp_path / f'{n}.safetensors' for n in ('adapter', 'merged'))
    kept = tmp_path / 'kept.pth'
    merge_files(base, tmp_path / 'adapter.pth', merged)
    merge_files(base, adapter, kept, keep_adapter=True)
    for path, base_file in ((final, base), (adapter, base), (merged, None), (kept, None)):
        model = plain_model()
        load_plain(model, path, base_file)
        assert_same(model, expected, path)

    # nothing but plain names in the merged file, nothing of the base in the adapter file
    names = runner.model.state_dict().keys()
    frozen = {n for n, p in runner.model.named_parameters() if not p.requires_grad}
    assert read_state_dict(merged).keys() == plain_model().state_dict().keys()
    assert read_state_dict(kept).keys() == names
    assert all(read_state_dict(tmp_path / f'adapter{s}').keys() == names - frozen for s in suffixes)

    # both can be trained on
    for file in (kept, adapter):
        changes = {'load_from': str(file), 'optim_wrapper.optimizer.lr': 0.0}
        again = build_runner(config, {**changes, 'work_dir': str(tmp_path / 'on')})
        again.train()
        assert_same(again.model, expected, file)


def test_the_card_says_what_the_file_is(adapter, base, kind):
    card = card_of(read_checkpoint(adapter))
    assert (card['method'], card['rank'], card['iteration']) == ('SoMA', 2, 2)
    assert tuple(card['classes']) == BOX_CLASSES and len(card['palette']) == 7
    assert card['base']['file'] == str(base) and len(card['base']['hash']) == 64
    tensors = read_state_dict(adapter)
    assert sorted(card['targets']) == [*card_from_tensors(tensors).targets]
    if kind == 'faster_rcnn':
        assert card['targets'][0] == 'backbone.layer3.0.conv1'
        assert {'conv1.weight', 'layer4.1.bn2.bias'} <= set(card['base']['names'])


@pytest.mark.slow
def test_averages(config, build_runner, plain_model, base, tmp_path):
    files = []
    for seed in (0, 1):
        options = {'work_dir': str(tmp_path / f'{seed}'), 'randomness.seed': seed}
        build_runner(config, options).train()
        files.append(tmp_path / f'{seed}.safetensors')
        extract_adapter(tmp_path / f'{seed}' / 'iter_2.pth', files[-1])
        merge_files(base, files[-1], tmp_path / f'{seed}.pth')
    # the changes of two adapters of rank 2, minus what both start from
    done = average_files(files, tmp_path / 'mean.safetensors', rank=6)
    assert done.layers and max(done.errors.values()) < 1e-5
    merged = [read_state_dict(tmp_path / f'{seed}.pth') for seed in (0, 1)]
    model = plain_model()
    load_plain(model, tmp_path / 'mean.safetensors', base)
    for name, value in model.state_dict().items():
        one, two = merged[0][name], merged[1][name]
        expected = (one + two) / 2 if value.is_floating_point() else one
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    assert any(not torch.equal(merged[0][n], merged[1][n]) for n in merged[0] if 'backbone' in n)


def test_another_base_is_refused(adapter, plain_model, base, tmp_path):
    state = read_state_dict(base)
    name = sorted(name for name in state if name.endswith('conv1.weight') or 'qkv.weight' in name)
    state[name[0]] += 1e-3
    write_checkpoint(state, tmp_path / 'other.pth')
    arguments = (tmp_path / 'other.pth', adapter, tmp_path / 'merged.pth')
    with pytest.raises(CheckpointError, match='was trained on the pretrained weights'):
        merge_files(*arguments)
    merge_files(*arguments, force=True)
    with pytest.raises(CheckpointError, match='was trained on the pretrained weights'):
        load_plain(plain_model(), adapter, tmp_path / 'other.pth')
    del state[name[0]]
    write_checkpoint(state, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth.*(lacks pretrained|no DINOv2) weights'):
        load_plain(plain_model(), adapter, tmp_path / 'other.pth')


def test_only_dinov2_is_exported(adapter, base, tmp_path, kind):
    arguments = (adapter, tmp_path / 'out.pth', 'timm', base)
    if kind == 'faster_rcnn':
        with pytest.raises(CheckpointError, match=r"has another backbone than DINOv2: \['bn1"):
            export_backbone(*arguments)
        with pytest.raises(CheckpointError, match=r'layer3\.0\.conv1 is no layer of a block'):
            export_peft(adapter, tmp_path / 'peft')
    else:
        assert export_backbone(*arguments) == len(read_state_dict(base))


def test_a_whole_model_may_hold_the_base(adapter, plain_model, base, tmp_path):
    state = {f'backbone.{name}': value for name, value in read_state_dict(base).items()}
    write_checkpoint({'state_dict': {**state, 'head': torch.ones(1)}}, tmp_path / 'whole.pth')
    one, two = plain_model(), plain_model()
    load_plain(one, adapter, base)
    load_plain(two, adapter, tmp_path / 'whole.pth')
    assert_same(one, predictions(two))


def test_the_average_of_a_shared_parameter_is_one(config, build_runner):
    runner = build_runner(config, HOOKS['ema'])
    runner.train()
    state = read_checkpoint(f'{config.work_dir}/iter_2.pth')['state_dict']
    names = {}
    for name, parameter in runner.model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for first, *others in names.values():
        assert all(torch.equal(state[first], state[name]) for name in others if first in state)


@pytest.mark.slow
def test_resumed_is_as_uninterrupted(config, build_runner):
    options = {**HOOKS['ema'], 'default_hooks.checkpoint.interval': 1}
    build_runner(config, options).train()
    whole = read_checkpoint(f'{config.work_dir}/iter_2.pth')
    options |= {'resume': True, 'load_from': f'{config.work_dir}/iter_1.pth'}
    build_runner(config, options).train()
    again = read_checkpoint(f'{config.work_dir}/iter_2.pth')
    for part in ('state_dict', 'ema_state_dict'):
        assert whole[part].keys() == again[part].keys()
        assert all(torch.equal(whole[part][name], again[part][name]) for name in whole[part])
