"""What is given and of no use, and what is no number: refused in one line, and nothing written."""

import math
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config
from torch import nn

from soma.adapters import adapter_card, base_card, check_adapter, inject_adapter, save_adapter
from soma.checkpoints import (
    analyze_file,
    average_files,
    convert_dinov2_file,
    export_backbone,
    export_peft,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.checkpoints.open import open_for_training, write_with_card
from soma.io.checkpoint_files import card_of, read_checkpoint, read_state_dict, write_checkpoint
from soma.io.files import CheckpointError
from soma.models import DINOv2
from soma.models.build import LeftOut, use_plain_model

ARCH = dict(embed_dim=16, depth=4, num_heads=2)


class Model(nn.Module):
    """A backbone and a head."""

    def __init__(self, method=None, file=None):
        super().__init__()
        init_cfg = file and dict(type='Pretrained', checkpoint=str(file))
        options = dict(out_indices=[3], pyramid=[1], init_cfg=init_cfg)
        self.backbone, self.head = DINOv2(ARCH, 32, 8, **options), nn.Linear(16, 3)
        self.backbone.init_weights()
        if method is not None:
            rank = {} if method in ('SVF', 'OSF') else dict(rank=2)
            inject_adapter(self.backbone, dict(type=method, start_block=3, **rank))
            for parameter in self.backbone.parameters():
                if parameter.requires_grad:
                    parameter.data += 0.1


@pytest.fixture
def make(tmp_path, public_file):
    """Write the files of a trained model: the adapter's and the whole one."""

    def make(method='SoMA', name=''):
        model = Model(method, public_file)
        adapter, whole = tmp_path / f'{name}adapter.pth', tmp_path / f'{name}whole.pth'
        save_adapter(model, adapter, 'backbone.')
        card = replace(adapter_card(model), base=base_card(model, 'backbone.'))
        write_with_card(model.state_dict(), card, whole)
        return adapter, whole

    return make


@pytest.fixture
def other(public_file, tmp_path):
    """Other pretrained weights."""
    state = read_state_dict(public_file)
    state['blocks.0.norm1.weight'] += 1
    write_checkpoint(state, tmp_path / 'other.pth')
    return tmp_path / 'other.pth'


def same(*files):
    states = [read_state_dict(file) for file in files]
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_base_beside_the_weights_of_an_adapter_is_checked(make, public_file, other, tmp_path):
    adapter, whole = make()
    out, alone = tmp_path / 'out.pth', tmp_path / 'alone.pth'
    merge_files(None, whole, alone)
    merge_files(public_file, whole, out)
    assert same(alone, out) and same(out, alone)
    merge_files(public_file, adapter, out)
    assert same(alone, out)
    out.unlink()
    message = 'whole.pth was trained on the pretrained weights .* but .*other.pth holds'
    uses = {
        'merge': lambda **force: merge_files(other, whole, out, **force),
        'export': lambda **force: export_backbone(whole, out, 'timm', other, **force),
        'peft': lambda **force: export_peft(whole, tmp_path / 'peft', other, **force),
        'test': lambda **force: load_plain(Model(), whole, other, **force),
    }
    for use in uses.values():
        with pytest.raises(CheckpointError, match=message):
            use()
    assert not out.exists() and not (tmp_path / 'peft').exists()
    for use in uses.values():
        use(force=True)
    merge_files(other, whole, out, force=True)  # the base is what was given
    changed = 'backbone.blocks.0.norm1.weight'
    assert torch.equal(read_state_dict(out)[changed], read_state_dict(alone)[changed] + 1)


@pytest.mark.parametrize('force', [False, True])
def test_a_base_beside_weights_without_a_card_is_checked(make, public_file, other, tmp_path, force):
    _, whole = make()
    write_checkpoint(read_state_dict(whole), whole)  # as from a release
    convert_dinov2_file(public_file, tmp_path / 'base.pth', (32, 32), 8)
    merge_files(tmp_path / 'base.pth', whole, tmp_path / 'out.pth')
    convert_dinov2_file(other, tmp_path / 'base.pth', (32, 32), 8)
    if force:
        merge_files(tmp_path / 'base.pth', whole, tmp_path / 'out.pth', force=True)
    else:
        with pytest.raises(CheckpointError, match='was trained on the pretrained weights'):
            merge_files(tmp_path / 'base.pth', whole, tmp_path / 'x.pth')


def test_a_base_of_no_use_is_refused(make, public_file, tmp_path):
    adapter, whole = make()
    merged = tmp_path / 'merged.pth'
    merge_files(public_file, adapter, merged)
    plain = tmp_path / 'plain.pth'  # of no adapter at all
    write_checkpoint({'state_dict': read_state_dict(merged)}, plain)
    for file in (merged, plain):
        for use in (
            lambda file: load_plain(Model(), file, public_file),
            lambda file: export_backbone(file, tmp_path / 'x.pth', 'timm', public_file),
        ):
            with pytest.raises(CheckpointError, match=f'{file.name} holds all its weights: leave'):
                use(file)
        load_plain(Model(), file)  # and that of a config is for what has none
        load_plain(Model(), file, left_out=LeftOut('nowhere.pth', 'SoMA'))
        export_backbone(file, tmp_path / 'x.pth', 'timm')
        (tmp_path / 'x.pth').unlink()
    message = r'pretrained weights: leave base \(--base\) out'
    for against in (None, merged):
        with pytest.raises(CheckpointError, match=message):
            analyze_file(whole, against, public_file)
    assert analyze_file(merged, adapter, public_file).drift
    with pytest.raises(CheckpointError, match=r'leave force \(--force\) out'):
        analyze_file(whole, force=True)


def test_force_without_a_base_is_refused(make, tmp_path):
    _, whole = make()
    for use in (
        lambda: merge_files(None, whole, tmp_path / 'x.pth', force=True),
        lambda: export_backbone(whole, tmp_path / 'x.pth', 'timm', force=True),
        lambda: export_peft(whole, tmp_path / 'x', force=True),
        lambda: load_plain(Model(), whole, force=True),
    ):
        with pytest.raises(CheckpointError, match=r'another base: leave force \(--force\) out'):
            use()
    assert not (tmp_path / 'x.pth').exists() and not (tmp_path / 'x').exists()


def test_a_missing_base_is_asked_for(make, tmp_path):
    adapter, _ = make()
    for use in (
        lambda: merge_files(None, adapter, tmp_path / 'x.pth'),
        lambda: export_backbone(adapter, tmp_path / 'x.pth', 'timm'),
        lambda: load_plain(Model(), adapter),
    ):
        with pytest.raises(CheckpointError, match='no pretrained weights: name their file as base'):
            use()


def test_an_alpha_of_no_use_is_refused(make, public_file, tmp_path):
    for method, known in (('SoMA', r'2\.0'), ('SVF', 'none, that of SVF')):
        adapter, _ = make(method)
        with pytest.raises(CheckpointError, match=rf'is {known}: leave alpha \(--alpha\) out'):
            merge_files(public_file, adapter, tmp_path / 'x.pth', alpha=4.0)
    with pytest.raises(CheckpointError, match=r'pretrain\.pth: there is no adapter that has an'):
        open_checkpoint(public_file, alpha=4.0)
    write_checkpoint(read_state_dict(make()[0]), tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match=r'bare\.pth: alpha must be positive, .* got nan'):
        extract_adapter(tmp_path / 'bare.pth', tmp_path / 'x.pth', alpha=math.nan)


@pytest.mark.parametrize(
    ('method', 'of_config', 'fits'),
    [
        ('SoMA', 'SoMA', True),
        ('SoMA', None, True),
        ('LoRA', 'MiCA', True),  # their average
        ('LoRA', 'SoMA', False),
        ('SoMA', 'PiSSA', False),
        ('SVF', 'SoMA', False),
        ('SoMA', 'Rein', False),
    ],
)
def test_a_checkpoint_of_another_method_is_refused(make, public_file, method, of_config, fits):
    left_out = LeftOut(str(public_file), of_config)
    for file in make(method):
        if fits:
            load_plain(Model(), file, left_out=left_out)
            continue
        message = rf'{file.name} is of {method}, but the adapter of the config is {of_config}: take'
        with pytest.raises(CheckpointError, match=message):
            load_plain(Model(), file, left_out=left_out)


def test_without_a_card_tensors_tell_the_method(make, tmp_path):
    _, whole = make('PiSSA')
    write_checkpoint(read_state_dict(whole), whole)
    load_plain(Model(), whole, left_out=LeftOut(None, 'PiSSA'))
    with pytest.raises(CheckpointError, match='is of SoMA, but the adapter of the config is DoRA'):
        load_plain(Model(), whole, left_out=LeftOut(None, 'DoRA'))


@pytest.mark.parametrize(
    ('method', 'names'),
    [('RecycleLoRA', 'A, A0, A_sub, '), ('OSF', 'S, U, V'), ('SVF', 'S, S0')],
)
def test_without_a_card_tensors_that_do_not_tell_enough_are_refused(make, method, names):
    for file in make(method):
        write_checkpoint(read_state_dict(file), file)
        with pytest.raises(CheckpointError, match=rf'tensors of an adapter \({names}.*no card'):
            open_checkpoint(file)


def test_what_a_plain_model_leaves_out():
    backbone = dict(type='DINOv2', init_cfg=dict(type='Pretrained', checkpoint='base.pth'))
    config = Config(dict(model=dict(backbone=dict(backbone, adapter=dict(type='DoRA', rank=2)))))
    assert use_plain_model(config) == LeftOut('base.pth', 'DoRA')
    assert config.model.backbone == dict(type='DINOv2')
    config.model.backbone = dict(backbone, adapter=dict(type='DoRA', rank=0))
    with pytest.raises(ValueError, match='adapter: rank must be at least 1'):
        use_plain_model(config)
    assert use_plain_model(Config(dict(model={}))) == LeftOut(None, None)


@pytest.mark.parametrize('value', [math.nan, -math.inf])
@pytest.mark.parametrize(
    'name', ['backbone.blocks.3.mlp.fc1.A', 'backbone.blocks.3.mlp.fc1.bias', 'head.weight']
)
def test_no_file_of_a_value_that_is_none_is_used(make, public_file, tmp_path, name, value):
    good, _ = make('SoMA', 'good_')
    out = tmp_path / 'out.pth'
    uses = {
        'test': lambda file: load_plain(Model(), file, left_out=LeftOut(str(public_file))),
        'train on': open_for_training,
        'merge': lambda file: merge_files(public_file, file, out),
        'keep': lambda file: merge_files(public_file, file, out, keep_adapter=True),
        'extract': lambda file: extract_adapter(file, out),
        'export': lambda file: export_backbone(file, out, 'timm', public_file),
        'analyze': lambda file: analyze_file(file, public_file, layers=r'.*fc1'),
        'peft': lambda file: export_peft(file, out, public_file),
        'average': lambda file: average_files([good, file], out),
        'average first': lambda file: average_files([file, good], out, r'.*mlp\.fc2'),
    }
    if name == 'head.weight':
        del uses['peft']
    for file in make():
        content = read_checkpoint(file)
        content['state_dict'][name].view(-1)[1] = value
        write_checkpoint(content, file)
        for use in uses.values():
            with pytest.raises(CheckpointError, match=rf'{file.name} has NaN or inf.* in .*{name}'):
                use(file)
        assert not out.exists()
        # The good file has the names of the first one alone.
        uses = {key: use for key, use in uses.items() if 'average' not in key}


def test_no_base_of_a_value_that_is_none_is_used(make, public_file, tmp_path):
    adapter, _ = make()
    bad, out = tmp_path / 'bad.pth', tmp_path / 'out.pth'
    state = read_state_dict(public_file)
    state['blocks.0.mlp.fc1.weight'][0, 0] = math.nan
    write_checkpoint(state, bad)
    for use in (
        lambda: Model('SoMA', bad),
        lambda: convert_dinov2_file(bad, out, (32, 32), 8),
        lambda: merge_files(bad, adapter, out, force=True),
        lambda: load_plain(Model(), adapter, bad, force=True),
        lambda: export_peft(adapter, out, bad, force=True),
        lambda: analyze_file(adapter, bad, force=True),
    ):
        with pytest.raises(CheckpointError, match=r'bad\.pth has NaN or infinity in blocks\.0'):
            use()
    assert not out.exists()


def test_what_is_not_used_is_not_read(make, tmp_path):
    """Of a training checkpoint, most is the base."""
    _, whole = make()
    content = read_checkpoint(whole)
    content['state_dict']['backbone.blocks.0.mlp.fc1.weight'][0, 0] = math.nan
    write_checkpoint(content, whole)
    assert extract_adapter(whole, tmp_path / 'out.pth').method == 'SoMA'
    with pytest.raises(CheckpointError, match=r'NaN or infinity in backbone\.blocks\.0\.mlp\.fc1'):
        merge_files(None, whole, tmp_path / 'x.pth')


def test_a_card_that_lists_fewer_layers_loses_none_in_silence(make, public_file, tmp_path):
    adapter, _ = make()
    content = read_checkpoint(adapter)
    card = card_of(content)
    card['targets'] = card['targets'][:1]
    write_checkpoint(content, adapter)
    out = tmp_path / 'x.pth'
    message = r'adapter\.pth: its card names 1 layers with SoMA, and of its tensors not .*\(12\)'
    for use in (
        lambda: export_peft(adapter, out, public_file),
        lambda: export_backbone(adapter, out, 'timm', public_file),
        lambda: merge_files(public_file, adapter, out),
        lambda: extract_adapter(adapter, out),
        lambda: average_files([adapter, adapter], out),
    ):
        with pytest.raises(CheckpointError, match=message):
            use()
    assert not out.exists()


@pytest.mark.parametrize('factors', [[math.nan, 1], [math.inf, 1], [1, -1], [1]])
def test_factors_that_make_no_mean_are_refused(make, tmp_path, factors):
    adapter, _ = make()
    with pytest.raises(ValueError, match='2 files need as many factors with a sum, got'):
        average_files([adapter, adapter], tmp_path / 'x.pth', factors=factors)


def test_as_many_patches_are_not_the_same_grid(make, public_file, tmp_path):
    """Trained at 32 x 32, for a model of 16 x 64: all shapes are equal."""
    files = {file.name: file for file in make()}
    files['merged'] = tmp_path / 'merged.pth'
    merge_files(public_file, files['adapter.pth'], files['merged'])
    wide = Model()
    wide.backbone = DINOv2(ARCH, (16, 64), 8, out_indices=[3], pyramid=[1])
    message = 'has positions of 4 x 4 patches, the model 2 x 8: give the backbone the img_size that'
    for file in files.values():
        with pytest.raises(CheckpointError, match=f'{file.name} {message}'):
            load_plain(wide, file, left_out=LeftOut(str(public_file)))
        with pytest.raises(CheckpointError, match=message):  # as the runner does
            check_adapter(wide, open_for_training(file).card, file)
        load_plain(Model(), file, left_out=LeftOut(str(public_file)))
    convert_dinov2_file(public_file, tmp_path / 'square.pth', (32, 32), 8)
    convert_dinov2_file(public_file, tmp_path / 'wide.pth', (16, 64), 8)
    pair = [tmp_path / 'square.pth', tmp_path / 'wide.pth']
    with pytest.raises(CheckpointError, match='positions of different grids of patches'):
        average_files(pair, tmp_path / 'x.pth')
    average_files(pair, tmp_path / 'x.pth', 'blocks')
