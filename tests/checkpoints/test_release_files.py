"""Files that users of the releases bring, under the names in them: bases, adapters, Rein."""

import copy
import logging
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmseg.apis import init_model
from release_names import rein, soma_adapter, split_qkv
from small_detectors import RESNET, write_resnet

from soma.adapters import load_adapter, save_adapter
from soma.checkpoints import (
    convert_dinov2_file,
    export_backbone,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.checkpoints.open import open_for_training
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)
from soma.io.files import InputError
from soma.models import DINOv2
from soma.models.build import use_plain_model

ARCH = dict(embed_dim=16, depth=4, num_heads=2)


@pytest.fixture
def converted(public_file, tmp_path):
    convert_dinov2_file(public_file, tmp_path / 'converted.pth', (32, 32), 8)
    return tmp_path / 'converted.pth'


@pytest.fixture
def plain_model(tiny_config):
    """Build the model of the tiny config as tests do, with random weights."""

    def build(adapter=None):
        config = copy.deepcopy(tiny_config)
        config.model.backbone.adapter = adapter
        use_plain_model(config)
        return init_model(config, None, device='cpu').eval()

    return build


@pytest.fixture
def adapter(plain_model, tmp_path):
    """SoMA's release: adapter and head, as its script writes them."""
    state = soma_adapter(head=plain_model().decode_head.state_dict(), biases=True)
    torch.save({'state_dict': state}, tmp_path / 'soma.pth')
    return tmp_path / 'soma.pth'


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in theirs)


def as_ours(state):
    """With Rein's scale as we write it: a vector of one element."""
    return {n: v.view(1) if n.endswith('.scale') and not v.ndim else v for n, v in state.items()}


def without_mask(state):
    return {name: value for name, value in state.items() if name != 'mask_token'}


def initialised(file, **init_cfg):
    init_cfg = dict(type='Pretrained', checkpoint=str(file), **init_cfg)
    model = DINOv2(ARCH, 32, 8, out_indices=[3], pyramid=[1], init_cfg=init_cfg)
    model.init_weights()
    return model.state_dict()


def test_a_base_with_query_key_and_value_apart(plain_model, converted, adapter, tmp_path):
    """As ``dinov2_sora_converted.pth``: a bare state dict."""
    fused, apart = read_state_dict(converted), tmp_path / 'dinov2_sora_converted.pth'
    state = split_qkv(fused)
    assert state['blocks.3.attn.k.weight'].shape == (16, 16) and len(state) == len(fused) + 16
    torch.save(state, apart)
    for base, out in ((converted, 'one.pth'), (apart, 'two.pth')):
        merge_files(base, adapter, tmp_path / out)
    merged = read_state_dict(tmp_path / 'two.pth')
    assert equal(merged, read_state_dict(tmp_path / 'one.pth'))
    load_plain(model := plain_model(), adapter, apart)
    assert equal(model.state_dict(), merged)
    assert equal(initialised(apart), without_mask(fused))
    convert_dinov2_file(apart, tmp_path / 'again.pth', (32, 32), 8)
    assert equal(read_state_dict(tmp_path / 'again.pth'), fused)
    del state['blocks.2.attn.v.bias']
    torch.save(state, apart)
    message = r'converted\.pth: of .*, blocks\.2\.attn\.v\.bias one is missing or of another shape'
    with pytest.raises(CheckpointError, match=message):
        merge_files(apart, adapter, tmp_path / 'x.pth')


def test_a_model_without_an_adapter(plain_model, tmp_path):
    """As the release's frozen and fully fine-tuned baselines."""
    state = plain_model().state_dict()
    theirs = {**split_qkv(state), 'backbone.mask_token': torch.zeros(1, 16)}
    assert 'backbone.blocks.0.attn.v.bias' in theirs
    write_checkpoint({'state_dict': theirs}, tmp_path / 'full.pth')
    load_plain(model := plain_model(), tmp_path / 'full.pth')
    assert equal(model.state_dict(), state)
    assert equal(open_for_training(tmp_path / 'full.pth').tensors, state)


def test_all_that_trained_in_the_release_comes_from_its_file(adapter, converted):
    """Biases of all layers, also of blocks without factors."""
    theirs, base = read_state_dict(adapter), read_state_dict(converted)
    state = open_checkpoint(adapter).with_base(converted).plain()
    for block in range(4):
        ours, key = f'backbone.blocks.{block}', f'backbone.model.blocks.{block}'
        for part, name in (*enumerate(['attn.q', 'attn.k', 'attn.v']), (None, 'mlp.fc1')):
            rows = slice(None) if part is None else slice(16 * part, 16 * part + 16)
            fused = name if part is None else 'attn.qkv'
            bias, weight = f'{fused}.bias', base[f'blocks.{block}.{fused}.weight'][rows]
            assert torch.equal(state[f'{ours}.{bias}'][rows], theirs[f'{key}.{name}.bias'])
            if block > 1:
                factors = (theirs[f'{key}.{name}.lora_{factor}.weight'] for factor in 'BA')
                weight = weight + torch.matmul(*factors)
            torch.testing.assert_close(state[f'{ours}.{fused}.weight'][rows], weight)
        assert torch.equal(state[f'{ours}.norm2.bias'], theirs[f'{key}.norm2.bias'])
    name = 'patch_embed.proj.bias'
    assert torch.equal(state[f'backbone.{name}'], theirs[f'backbone.model.{name}'])
    assert torch.equal(state['backbone.cls_token'], base['cls_token'])


def test_sizes_of_a_published_base_come_from_the_config(
    plain_model, public_file, converted, adapter, config_file, tiny_config, tmp_path
):
    """What the release's adapter does not say; no file that tests would refuse is written."""
    out = tmp_path / 'merged.pth'
    message = r'14_pretrain\.pth has patches of 14 .*soma\.pth does not say .*\(--config\), or conv'
    export = (adapter, out, 'dinov2', public_file)
    with pytest.raises(CheckpointError, match=message):
        merge_files(public_file, adapter, out)
    with pytest.raises(CheckpointError, match=message):
        export_backbone(*export)
    assert not out.exists()
    expected = open_checkpoint(adapter).with_base(converted).plain()
    export_backbone(*export, config=config_file)
    weights = without_mask(read_state_dict(out))
    assert all(torch.equal(expected[f'backbone.{n}'], value) for n, value in weights.items())
    for keep in (False, True):
        merge_files(public_file, adapter, out, keep, config=config_file)
        load_plain(model := plain_model(), out)
        assert equal(model.state_dict(), expected)
    load_plain(model := plain_model(), adapter, public_file)
    assert equal(model.state_dict(), expected)
    convert_dinov2_file(public_file, tmp_path / 'larger.pth', (48, 32), 8)
    with pytest.raises(
        CheckpointError, match=r'larger\.pth: it is converted to another image size'
    ):
        load_plain(plain_model(), adapter, tmp_path / 'larger.pth')
    assert card_of(read_checkpoint(out))['base']['img_size'] == [32, 32]
    with pytest.raises(CheckpointError, match=r'merged\.pth: config .*of no use without base'):
        merge_files(None, out, tmp_path / 'x.pth', config=config_file)
    with pytest.raises(CheckpointError, match=r'merged\.pth says its sizes: leave config'):
        merge_files(public_file, out, tmp_path / 'x.pth', config=config_file)
    extract_adapter(adapter, ours := tmp_path / 'ours.pth')  # which knows no more
    with pytest.raises(CheckpointError, match=r'ours\.pth does not say its sizes'):
        merge_files(public_file, ours, tmp_path / 'x.pth')
    merge_files(public_file, ours, out, config=config_file)
    assert equal(read_state_dict(out), expected)
    config_file.write_text(config_file.read_text().replace('patch_size=8', 'patch_size=14'))
    config_file.write_text(config_file.read_text().replace('img_size=32', 'img_size=42'))
    merge_files(public_file, adapter, out, config=config_file)  # published patches, resized
    assert read_state_dict(out)['backbone.pos_embed'].shape == (1, 10, 16)
    (tmp_path / 'empty.py').write_text('a = 1')
    with pytest.raises(InputError, match=r'empty\.py has no model\.backbone'):
        merge_files(public_file, adapter, tmp_path / 'x.pth', config=tmp_path / 'empty.py')


def chunked(state):
    """Blocks in two chunks, as DINOv2's training makes them: ``blocks.<chunk>.<block>``."""
    names = {n: n.split('.') for n in state}
    return {
        '.'.join(['blocks', str(int(p[1]) // 2), *p[1:]]) if p[0] == 'blocks' else n: state[n]
        for n, p in names.items()
    }


TRAININGS = {
    'teacher': lambda s, other: {
        'teacher': {f'backbone.{n}': v for n, v in s.items()}
        | {'dino_head.last_layer.weight': torch.ones(2, 2)}
    },
    'flat': lambda s, other: (
        {f'student.backbone.{n}': v for n, v in other.items()}
        | {f'teacher.backbone.{n}': v for n, v in s.items()}
        | {'teacher.ibot_head.mlp.0.bias': torch.ones(2)}
    ),
    'chunked': lambda s, other: {
        'teacher': {f'backbone.{n}': v for n, v in chunked(s).items()},
        'iteration': 9,
    },
    'fsdp': lambda s, other: {
        'teacher': {
            'backbone._fsdp_wrapped_module.'
            + n.replace('blocks.', 'blocks._fsdp_wrapped_module.', 1): v
            for n, v in chunked(s).items()
        }
    },
}


@pytest.mark.parametrize('kind', TRAININGS)
def test_a_base_of_dinov2s_own_training(kind, public_file, converted, adapter, tmp_path):
    public, expected = read_state_dict(public_file), read_state_dict(converted)
    other = {name: value + 1 for name, value in public.items()}
    torch.save(TRAININGS[kind](public, other), tmp_path / 'trained.pth')
    convert_dinov2_file(tmp_path / 'trained.pth', tmp_path / 'out.pth', (32, 32), 8)
    assert equal(read_state_dict(tmp_path / 'out.pth'), expected)
    assert equal(initialised(tmp_path / 'trained.pth'), without_mask(expected))
    torch.save(TRAININGS[kind](expected, other), tmp_path / 'trained.pth')
    state = open_checkpoint(adapter).with_base(tmp_path / 'trained.pth').plain()
    assert equal(state, open_checkpoint(adapter).with_base(converted).plain())


def test_another_base_by_its_prefix(public_file, converted, adapter, tmp_path):
    state = {f'student.vit.{name}': v for name, v in read_state_dict(public_file).items()}
    torch.save({'model': {**state, 'teacher.norm.bias': torch.ones(1)}}, tmp_path / 'x.pth')
    expected, arguments = read_state_dict(converted), (tmp_path / 'x.pth', tmp_path / 'y.pth')
    convert_dinov2_file(*arguments, (32, 32), 8, prefix='student.vit')
    assert equal(read_state_dict(tmp_path / 'y.pth'), expected)
    assert equal(initialised(tmp_path / 'x.pth', prefix='student.vit.'), without_mask(expected))
    with pytest.raises(CheckpointError, match=r"x\.pth: no name starts with 'tutor\.', there are"):
        convert_dinov2_file(*arguments, (32, 32), 8, prefix='tutor')
    with pytest.raises(CheckpointError, match=r'the backbone start with \(prefix\)'):
        convert_dinov2_file(*arguments, (32, 32), 8)
    state = {f'student.vit.{name}': v for name, v in expected.items()}
    torch.save(state, tmp_path / 'x.pth')  # where it belongs to an adapter, it is found
    states = (
        open_checkpoint(adapter).with_base(f).plain() for f in (tmp_path / 'x.pth', converted)
    )
    assert equal(*states)


@pytest.mark.parametrize('apart', [True, False])
def test_a_student_beside_its_teacher(
    apart, tiny_config, build_runner, plain_model, converted, adapter, tmp_path
):
    """The prefix of ``init_cfg`` holds for all that follows, with a card and without."""
    student, file, out = read_state_dict(converted), tmp_path / 'ssl.pth', tmp_path / 'out.pth'
    parts = {'teacher': {n: v + 1 for n, v in student.items()}, 'student': student}
    parts = {p: {f'backbone.{n}': v for n, v in part.items()} for p, part in parts.items()}
    flat = {f'{name}.{n}': v for name, part in parts.items() for n, v in part.items()}
    torch.save(parts if apart else flat, file)
    convert_dinov2_file(file, out, (32, 32), 8, prefix='student.backbone')
    assert equal(read_state_dict(out), student)
    tiny_config.model.backbone.init_cfg.update(checkpoint=str(file), prefix='student.backbone')
    tiny_config.dump(tmp_path / 'config.py')
    left_out = use_plain_model(Config.fromfile(tmp_path / 'config.py'))
    load_plain(model := plain_model(), adapter, left_out=left_out)
    expected = open_checkpoint(adapter).with_base(converted).plain()
    assert equal(model.state_dict(), expected)
    merge_files(file, adapter, out, config=tmp_path / 'config.py')
    assert equal(read_state_dict(out), expected)
    options = {'default_hooks.checkpoint.type': 'AdapterCheckpointHook', 'train_cfg.max_iters': 1}
    build_runner(tiny_config, options).train()
    final = f'{tiny_config.work_dir}/iter_1.pth'
    load_plain(model, final, left_out=left_out)
    for base in (file, converted):  # where the card says, or else where the names are
        merge_files(base, final, out)
        assert equal(read_state_dict(out), model.state_dict())


def test_an_adapter_in_a_part_that_the_model_has_not(adapter, converted):
    with pytest.raises(CheckpointError, match=r'soma\.pth has its adapter in backbone\., which'):
        load_plain(torch.nn.Linear(2, 2), adapter, converted)


def test_two_chunks_with_the_same_block_are_refused(public_file, tmp_path):
    state = chunked(read_state_dict(public_file))
    state['blocks.0.2.norm1.bias'] = torch.ones(16)
    write_checkpoint(state, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth: two chunks .* have the same block'):
        convert_dinov2_file(tmp_path / 'x.pth', tmp_path / 'y.pth', (32, 32), 8)


REIN = dict(type='Rein', num_tokens=5, rank=2)


def test_rein_without_link_or_scale(plain_model, converted, tmp_path, caplog):
    """Its files hold what only the link needs; ``zero_mlp_delta_f`` leaves out the scale."""
    adapter = dict(REIN, zero_mlp_delta_f=True)
    model = plain_model(adapter=adapter)
    state = rein(4)
    del state['backbone.reins.scale']
    state |= {f'decode_head.{n}': v for n, v in model.decode_head.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'rein.pth')
    with caplog.at_level(logging.WARNING):
        load_plain(model, tmp_path / 'rein.pth', converted)
    (record,) = caplog.records
    unused = [n for n in state if 'transform' in n or 'merge' in n]
    assert len(unused) == 4 and all(name in record.getMessage() for name in unused)
    loaded = model.state_dict()
    assert 'backbone.reins.scale' not in loaded and model.backbone.reins.scale == 1
    assert all(torch.equal(loaded[n], v) for n, v in state.items() if n not in unused)
    extract_adapter(tmp_path / 'rein.pth', tmp_path / 'ours.safetensors')
    ours = read_state_dict(tmp_path / 'ours.safetensors')
    assert ours.keys() == state.keys() - {*unused}
    card = card_of(read_checkpoint(tmp_path / 'ours.safetensors'))
    assert card['zero_mlp_delta_f'] and not card['link']
    assert 'use_softmax' not in card and 'soma_version' not in card
    message = 'rein.pth does not tell use_softmax, nor will the card: the config of the model has'
    assert message in caplog.records[-1].getMessage()
    other = plain_model(adapter=dict(adapter, use_softmax=False))
    load_plain(other, tmp_path / 'ours.safetensors', converted)
    assert not other.backbone.reins.use_softmax
    with pytest.raises(CheckpointError, match=r'has an adapter Rein of .*zero_mlp_delta_f True'):
        load_plain(plain_model(adapter=REIN), tmp_path / 'rein.pth', converted)
    assert not any('reins' in n for n in open_for_training(converted).tensors)
    assert open_for_training(tmp_path / 'rein.pth').tensors.keys() == ours.keys()


@pytest.mark.parametrize(
    ('names', 'linked'),
    [
        (('querys2feat.weight', 'querys2feat.bias'), True),
        (('query_feat.weight',), True),  # replace_query_feat=False
        (('query_embed.weight', 'query_feat.weight'), False),
        (('conv_seg.weight',), False),
    ],
)
def test_a_link_is_told_by_the_head(names, linked, tmp_path, caplog):
    state = rein(4) | {f'decode_head.{name}': torch.ones(5, 32) for name in names}
    torch.save({'state_dict': state}, tmp_path / 'rein.pth')
    opened = open_checkpoint(tmp_path / 'rein.pth')
    assert opened.card.settings['link'] is linked and bool(caplog.records) is not linked
    assert state.keys() - opened.tensors.keys() == (
        set() if linked else {n for n in state if 'transform' in n or 'merge' in n}
    )


@pytest.fixture
def resnet(tmp_path):
    """A ResNet with Rein behind each block, as its pretrained file makes it."""
    write_resnet(tmp_path / 'resnet.pth')

    def build(**options):
        pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet.pth'))
        inner = dict(RESNET, frozen_stages=0, init_cfg=pretrained)
        adapter = dict(REIN, link=True, query_dims=6, targets=r'layer\d\.\d+', **options)
        backbone = dict(type='AdaptedBackbone', backbone=inner, adapter=adapter)
        model = torch.nn.ModuleDict({'backbone': MODELS.build(backbone)})
        model.backbone.init_weights()
        return model.eval()

    return build


def test_rein_on_a_resnet_has_the_releases_names(resnet, tmp_path):
    """One set a stage, whatever wrote it; the file names neither blocks nor base."""
    widths = (8, 16, 32, 64)
    state = {}
    for stage, width in enumerate(widths):
        state |= rein(2, width=width, queries=6, place=f'{stage}.')
    torch.save({'meta': {}, 'state_dict': state}, tmp_path / 'rein_r18.pth')
    card = open_checkpoint(tmp_path / 'rein_r18.pth').card
    assert (card.method, card.settings['rank'], card.settings['link']) == ('Rein', 2, True)
    assert len(card.targets) == 8 and card.settings['query_dims'] == 6
    model = resnet()
    names = [n for n in model.state_dict() if 'reins' in n]
    assert sorted(names) == sorted(state)
    weights = {n: v.clone() for n, v in model.state_dict().items() if n not in state}
    for value in model.state_dict().values():
        value.zero_()
    load_plain(model, tmp_path / 'rein_r18.pth', tmp_path / 'resnet.pth')
    assert equal(model.state_dict(), as_ours(state) | weights)
    extract_adapter(tmp_path / 'rein_r18.pth', tmp_path / 'ours.pth')
    assert equal(read_state_dict(tmp_path / 'ours.pth'), as_ours(state))
    base = read_state_dict(tmp_path / 'resnet.pth')
    for count in (7, None):  # of batches, which older files lack
        values = {n: v if v.is_floating_point() else v + (count or 0) for n, v in base.items()}
        values = {n: v for n, v in values.items() if count or v.is_floating_point()}
        write_checkpoint(values, tmp_path / 'other.pth')
        load_plain(model, tmp_path / 'rein_r18.pth', tmp_path / 'other.pth')
        assert model.backbone.bn1.num_batches_tracked == 7  # or as it was

    # files of older versions
    save_adapter(model, tmp_path / 'new.pth', 'backbone.')
    content = read_checkpoint(tmp_path / 'new.pth')
    saved = content['state_dict']
    assert state.keys() <= saved.keys() and not any('width' in name for name in saved)
    old = {}
    for name, value in saved.items():
        for stage, width in enumerate(widths):
            name = name.replace(f'reins.{stage}.', f'reins.width{width}.')
        old[name] = value
    average = {f'module.{name}': value for name, value in old.items()}
    write_checkpoint({**content, 'state_dict': old, 'ema_state_dict': average}, tmp_path / 'o.pth')
    x = torch.randn(1, 3, 32, 32)
    expected = model.backbone(x)
    other = resnet()
    load_adapter(other, tmp_path / 'o.pth')
    for ours, theirs in zip(other.backbone(x)[0], expected[0], strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(other.backbone(x)[1], expected[1])
    assert equal(open_checkpoint(tmp_path / 'o.pth').tensors, saved)
    resumed = open_for_training(tmp_path / 'o.pth')
    assert equal(resumed.tensors, saved)
    assert resumed.content['ema_state_dict'].keys() == {f'module.{name}' for name in saved}


@pytest.fixture
def run_moved(run_here, monkeypatch):
    """Run a script that hands its arguments to another, and that one."""

    def run(script, *arguments):
        commands = []
        monkeypatch.setattr(os, 'execv', lambda python, command: commands.append(command))
        run_here(script, *arguments)
        ((_, script, *arguments),) = commands
        run_here(script, *arguments)

    return run


def test_a_base_is_converted_by_the_releases_script(run_moved, public_file, tmp_path):
    files = (public_file, tmp_path / 'theirs.pth')
    run_moved('convert_models/convert_dinov2_sora.py', *files, '--height', 32, '--width', 48)
    convert_dinov2_file(public_file, tmp_path / 'ours.pth', (32, 48), 16)
    theirs = read_state_dict(tmp_path / 'theirs.pth')
    assert equal(theirs, read_state_dict(tmp_path / 'ours.pth'))
    assert theirs['pos_embed'].shape == (1, 1 + 2 * 3, 16)


def test_the_releases_command_lines(
    run_here, capsys, converted, adapter, config_file, street_data, tmp_path
):
    """Under its names of options; what means nothing here is checked."""
    apart, merged = tmp_path / 'dinov2_sora_converted.pth', tmp_path / 'merged.pth'
    torch.save(split_qkv(read_state_dict(converted)), apart)
    files = ['--backbone_ckpt', apart, '--soma_ckpt', adapter, '--merged_ckpt', merged]
    run_here('merge_soma_weights.py', *files)
    files = ['--final_ckpt', adapter, '--soma_ckpt', tmp_path / 'a.pth', '--target_modules']
    run_here('extract_soma_weights.py', *files, *['q', 'k', 'v', 'proj', 'fc1', 'fc2'])
    ours = read_state_dict(tmp_path / 'a.pth')
    assert torch.equal(
        ours['backbone.blocks.3.attn.proj.A'],
        read_state_dict(adapter)['backbone.model.blocks.3.attn.proj.lora_A.weight'],
    )
    message = 'has its adapter in fc1 fc2 k proj q v, not in q v'
    with pytest.raises(SystemExit, match=message):
        run_here('extract_soma_weights.py', *files, 'q', 'v')
    images = [street_data / 'images', '--suffix', '3.png', '--save_dir', tmp_path / 'seen']
    capsys.readouterr()
    run_here('visualize.py', config_file, merged, *images, '--device', 'cpu')
    assert os.listdir(tmp_path / 'seen') == ['00003.png']
    images[2] = '.jpg'
    with pytest.raises(
        SystemExit, match=r"no image with a name that ends with '\.jpg' at .*images"
    ):
        run_here('visualize.py', config_file, merged, *images)


def test_full_weights_of_rein(run_moved, tmp_path, converted):
    state = {**rein(4), 'decode_head.querys2feat.bias': torch.ones(32)}
    torch.save({'state_dict': state}, tmp_path / 'head.pth')
    files = ['--backbone', converted, '--rein_head', tmp_path / 'head.pth']
    run_moved('generate_full_weights.py', '--segmentor_save_path', tmp_path / 'full.pth', *files)
    base = without_mask(read_state_dict(converted))
    expected = as_ours(state) | {f'backbone.{name}': value for name, value in base.items()}
    assert equal(read_state_dict(tmp_path / 'full.pth'), expected)
