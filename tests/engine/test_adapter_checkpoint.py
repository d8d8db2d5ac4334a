import os
import random
import re
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

import soma.io.files
from soma.checkpoints.open import load_plain, open_checkpoint
from soma.engine.resume import newest_checkpoint
from soma.io.checkpoint_files import CheckpointError, card_of, read_checkpoint, write_checkpoint
from soma.io.files import InputError
from soma.models.build import build_model

HOOK = {'default_hooks.checkpoint.type': 'AdapterCheckpointHook'}


def saved(runner, iteration):
    return read_checkpoint(f'{runner.work_dir}/iter_{iteration}.pth')


def names_of_base(state):
    """Weights of the backbone that a SoMA training leaves as they are."""
    return [k for k in state if 'backbone' in k and k.endswith(('cls_token', '.qkv.weight'))]


@pytest.fixture
def files(tiny_config):
    """The checkpoints that a run has left."""
    return lambda: sorted(f.name for f in Path(tiny_config.work_dir).glob('*.pth'))


@pytest.mark.parametrize('ema', [None, 'EMAHook', 'TrainableEMAHook'])
def test_the_base_is_named_and_not_held(tiny_config, build_runner, public_file, ema):
    tiny_config.custom_hooks += [dict(type=ema, momentum=0.3)] if ema else []
    runner = build_runner(tiny_config, HOOK)
    runner.train()
    content = saved(runner, 4)
    card = card_of(content)
    assert card['base']['file'] == str(public_file) and len(card['base']['hash']) == 64
    assert card['method'] == 'SoMA' and card['iteration'] == 4 and len(card['classes']) == 19
    for part in ('state_dict', 'ema_state_dict') if ema else ('state_dict',):
        assert not names_of_base(content[part])
        assert any(name.endswith('blocks.2.attn.qkv.B') for name in content[part])
        assert any(name.endswith('conv_seg.weight') for name in content[part])
    assert 'optimizer' in content and 'message_hub' in content and 'param_schedulers' in content


@pytest.mark.parametrize('source', ['load_from', 'pos_embed', 'random'])
def test_a_base_that_init_cfg_does_not_make_is_held(
    tiny_config, build_runner, tmp_path, caplog, source
):
    options = dict(HOOK)
    if source == 'random':
        tiny_config.model.backbone.init_cfg = None
    else:
        model = build_runner(tiny_config).model
        model.init_weights()
        state = {
            name: value + (torch.rand(1) if source == 'load_from' or 'pos_embed' in name else 0)
            for name, value in model.state_dict().items()
        }
        write_checkpoint({'state_dict': state}, tmp_path / 'other.pth')
        options['load_from'] = str(tmp_path / 'other.pth')
    options |= {'default_hooks.checkpoint.interval': 2}
    runner = build_runner(tiny_config, options)
    runner.train()
    result = saved(runner, 4)['state_dict']
    assert len(names_of_base(result)) == 5
    if source != 'random':
        assert torch.equal(result['backbone.pos_embed'], state['backbone.pos_embed'])
    # and resumed, where init_cfg gives others at first
    options |= {'load_from': f'{runner.work_dir}/iter_2.pth', 'resume': True}
    again = build_runner(tiny_config, {**options, 'work_dir': str(tmp_path / 'again')})
    again.train()
    actual, expected = saved(again, 4)['state_dict'], saved(runner, 4)['state_dict']
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in actual)


def test_full_fine_tuning_is_saved_whole(tiny_config, build_runner):
    runner = build_runner(tiny_config, {**HOOK, 'model.backbone.adapter': None})
    runner.train()
    assert saved(runner, 4)['state_dict'].keys() == runner.model.state_dict().keys()


def test_of_a_frozen_backbone_the_head_is_saved(tiny_config, build_runner):
    options = {'model.backbone.adapter': None, 'model.backbone.frozen_blocks': 4, **HOOK}
    runner = build_runner(tiny_config, {**options, 'default_hooks.checkpoint.interval': 2})
    runner.train()
    assert all(name.startswith('decode_head.') for name in saved(runner, 4)['state_dict'])
    options |= {'load_from': f'{runner.work_dir}/iter_2.pth', 'resume': True}
    build_runner(tiny_config, options).train()


def test_another_base_is_refused_on_resume(tiny_config, build_runner, public_file, tmp_path):
    build_runner(tiny_config, HOOK).train()
    state = read_checkpoint(public_file)
    state['blocks.2.attn.qkv.weight'] += 1e-4
    write_checkpoint(state, tmp_path / 'other.pth')
    options = {**HOOK, 'model.backbone.init_cfg.checkpoint': str(tmp_path / 'other.pth')}
    with pytest.raises(CheckpointError, match=r'iter_4\.pth was trained on the pretrained weights'):
        build_runner(tiny_config, {**options, 'resume': True}).train()


def test_another_alpha_is_refused(tiny_config, build_runner):
    runner = build_runner(tiny_config, HOOK)
    runner.train()
    options = {'load_from': f'{runner.work_dir}/iter_4.pth', 'model.backbone.adapter.alpha': 5.0}
    with pytest.raises(
        CheckpointError, match=r'and alpha 2\.0, the model SoMA of rank 2 and alpha 5\.0'
    ):
        build_runner(tiny_config, options).train()


def test_the_newest_are_kept(tiny_config, build_runner, files):
    options = {**HOOK, 'default_hooks.checkpoint.interval': 1}
    options |= {'default_hooks.checkpoint.max_keep_ckpts': 2, 'train_cfg.max_iters': 3}
    runner = build_runner(tiny_config, options)
    runner.train()
    assert files() == ['iter_2.pth', 'iter_3.pth']
    build_runner(tiny_config, options | {'resume': True, 'train_cfg.max_iters': 4}).train()
    assert files() == ['iter_3.pth', 'iter_4.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('/iter_4.pth')


def test_nothing_is_lost_when_writing_fails(tiny_config, build_runner, files, monkeypatch):
    options = {**HOOK, 'default_hooks.checkpoint.interval': 1}
    options |= {'default_hooks.checkpoint.max_keep_ckpts': 1}
    fsync = os.fsync

    def full(number):
        if 'iter_3' in os.readlink(f'/proc/self/fd/{number}'):
            raise OSError(28, 'No space left on device')
        fsync(number)

    monkeypatch.setattr(soma.io.files.os, 'fsync', full)
    runner = build_runner(tiny_config, options)
    with pytest.raises(InputError, match=r'iter_3\.pth is not written \(No space left'):
        runner.train()
    assert files() == ['iter_2.pth'] and not list(Path(runner.work_dir).glob('.*.pth'))
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith('/iter_2.pth')


@pytest.mark.parametrize(
    'metric',
    [
        *(pytest.param(m, marks=pytest.mark.slow) for m in ('mean_mIoU', 'auto')),
        ['mean_mIoU', 'fog_mIoU'],
    ],
)
def test_the_best_is_kept_until_a_better_is_written(tiny_config, build_runner, files, metric):
    scores, removed = iter((0.5, 0.4, 0.6, 0.7)), []

    def score(runner, metrics):
        others = {'mean_mIoU': 0.0, **metrics, 'fog_mIoU': 1.0}
        metrics.clear()
        metrics.update({**others, 'mean_mIoU': next(scores)})
        removed.append([f for f in files() if f.startswith('best_mean')])

    options = {**HOOK, 'default_hooks.checkpoint.save_best': metric}
    options |= {'default_hooks.checkpoint.interval': 1, 'train_cfg.val_interval': 1}
    build_runner(
        tiny_config, options | {'train_cfg.max_iters': 2}, 'VERY_HIGH', after_val_epoch=score
    ).train()
    assert [f for f in files() if f.startswith('best_mean')] == ['best_mean_mIoU_iter_1.pth']
    build_runner(
        tiny_config, options | {'resume': True}, 'VERY_HIGH', after_val_epoch=score
    ).train()
    assert [f for f in files() if f.startswith('best_mean')] == ['best_mean_mIoU_iter_4.pth']
    assert removed[1:] == [['best_mean_mIoU_iter_1.pth']] * 2 + [['best_mean_mIoU_iter_3.pth']]


def cut(file):
    file.write_bytes(file.read_bytes()[:-1000])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b'')


@pytest.mark.parametrize(
    'damage', [cut, *(pytest.param(d, marks=pytest.mark.slow) for d in (flip, empty))]
)
def test_a_broken_checkpoint_is_passed_over(tiny_config, build_runner, damage, capsys, tmp_path):
    options = {**HOOK, 'default_hooks.checkpoint.interval': 2, 'log_level': 'WARNING'}
    runner = build_runner(tiny_config, options)
    runner.train()
    whole = saved(runner, 4)
    damage(Path(runner.work_dir, 'iter_4.pth'))
    seen = []
    build_runner(
        tiny_config, options | {'resume': True}, before_train=lambda r: seen.append(r.iter)
    ).train()
    assert seen == [2]
    assert re.search(r'passed over: .*iter_4\.pth is (damaged|empty)', capsys.readouterr().out)
    again = saved(runner, 4)['state_dict']
    assert all(torch.equal(again[name], whole['state_dict'][name]) for name in again)


@pytest.mark.parametrize('resume', [pytest.param(True, marks=pytest.mark.slow), 'auto'])
def test_nothing_to_resume_from_is_a_new_start(tiny_config, build_runner, tmp_path, resume):
    model = build_runner(tiny_config).model
    state = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    write_checkpoint({'state_dict': state}, tmp_path / 'start.pth')
    start = {'load_from': str(tmp_path / 'start.pth')} if resume == 'auto' else {}
    seen = {}
    options = {**HOOK, 'resume': resume, 'default_hooks.checkpoint.interval': 2, **start}
    build_runner(
        tiny_config, options, before_train=lambda r: seen.update(r.model.state_dict())
    ).train()
    name = 'backbone.cls_token'
    assert torch.equal(seen[name], state[name]) == (resume == 'auto')
    # which is where it starts only as long as there is no checkpoint
    iterations = []
    options |= {'train_cfg.max_iters': 6}
    build_runner(tiny_config, options, before_train=lambda r: iterations.append(r.iter)).train()
    assert iterations == [4]


def test_what_is_newest_in_a_copy_or_after_a_new_start(tiny_config, build_runner, monkeypatch):
    options = {**HOOK, 'default_hooks.checkpoint.interval': 1}
    work = Path(build_runner(tiny_config, options).work_dir)
    build_runner(tiny_config, options).train()
    copy = work.with_name('copy')
    copy.mkdir()
    assert newest_checkpoint(copy) is None
    for name in ('last_checkpoint', 'iter_4.pth', 'iter_3.pth'):  # without their times
        (copy / name).write_bytes((work / name).read_bytes())
        time.sleep(0.01)
    assert newest_checkpoint(copy) == str(copy / 'iter_4.pth')
    (copy / 'iter_5.pth').write_bytes(
        (work / 'iter_3.pth').read_bytes()
    )  # killed before it said so
    assert newest_checkpoint(copy) == str(copy / 'iter_5.pth')
    time.sleep(0.01)
    (copy / 'iter_1.pth').write_bytes((work / 'iter_1.pth').read_bytes())
    (copy / 'last_checkpoint').write_text(str(copy / 'iter_1.pth'))  # a new start
    assert newest_checkpoint(copy) == str(copy / 'iter_1.pth')
    # checkpoints in another folder (out_dir), and a pointer that says nothing
    elsewhere = work.with_name('elsewhere')
    elsewhere.mkdir()
    (elsewhere / 'last_checkpoint').write_text(str(work / 'iter_4.pth'))
    assert newest_checkpoint(elsewhere) == str(work / 'iter_4.pth')
    (elsewhere / 'last_checkpoint').write_text('')
    monkeypatch.chdir(work)
    assert newest_checkpoint(elsewhere) is None


@pytest.mark.slow
def test_any_damage_is_passed_over(tiny_config, build_runner):
    runner = build_runner(tiny_config, HOOK)
    runner.train()
    whole = Path(runner.work_dir, 'iter_4.pth')
    content = whole.read_bytes()
    dice = random.Random(0)
    for _ in range(100):
        broken = bytearray(content)
        # where the names and the sizes stand, for the most part
        place = dice.choice((dice.randrange(len(broken)), -1 - dice.randrange(6000)))
        broken[place] ^= 1 << dice.randrange(8)
        whole.write_bytes(broken)
        assert newest_checkpoint(runner.work_dir) in (None, str(whole))
    torch.save(torch.ones(1), whole)
    assert newest_checkpoint(runner.work_dir) is None


def test_what_has_no_plain_form_is_written_as_text(tiny_config, build_runner):
    def remember(runner):
        runner.message_hub.update_info('begun', datetime(2026, 11, 21))
        runner.message_hub.update_info('sizes', [np.float64(1), (np.int64(2), 'x')])

    runner = build_runner(tiny_config, HOOK, before_train=remember)
    runner.train()
    result = saved(runner, 4)['message_hub']['runtime_info']
    assert result['begun'] == '2026-11-21 00:00:00' and result['sizes'] == [1.0, (2, 'x')]


def test_a_file_without_the_state_of_training_is_not_resumed(tiny_config, build_runner, tmp_path):
    runner = build_runner(tiny_config, HOOK)
    runner.train()
    write_checkpoint({'state_dict': saved(runner, 4)['state_dict']}, tmp_path / 'x.pth')
    options = {'load_from': str(tmp_path / 'x.pth'), 'resume': True}
    with pytest.raises(CheckpointError, match='holds no state of training'):
        build_runner(tiny_config, options).train()


def test_what_a_killed_run_left_half_written_is_removed(tiny_config, build_runner):
    folder = Path(tiny_config.work_dir)
    left, other = folder / '.iter_2.4711.pth', folder / '.peft.4711'
    other.mkdir(parents=True)
    left.touch()
    build_runner(tiny_config, HOOK).train()
    assert not left.exists() and other.exists()


def test_other_storage_is_refused(tiny_config, build_runner):
    options = {**HOOK, 'default_hooks.checkpoint.backend_args': dict(backend='local')}
    with pytest.raises(ValueError, match='written to local files only'):
        build_runner(tiny_config, options).train()


def test_checkpoints_of_an_earlier_run_are_named_whatever_they_are_called(
    tiny_config, build_runner, caplog
):
    tiny_config.val_dataloader = tiny_config.val_cfg = tiny_config.val_evaluator = None
    tiny_config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook', by_epoch=False, interval=4, filename_tmpl='it_{:06d}.pth'
    )
    build_runner(tiny_config).train()
    Path(tiny_config.work_dir, '.it_000002.77.pth').touch()  # half written, by a dead process
    runner = build_runner(tiny_config)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert r'checkpoints of an earlier run (it_000004.pth)' in caplog.text
    assert not list(Path(tiny_config.work_dir).glob('.it*'))


def test_what_cannot_stand_on_a_card_is_left_out(tiny_config, build_runner, caplog):
    """A training must not write what it refuses to read."""
    tiny_config.val_dataloader = tiny_config.val_cfg = tiny_config.val_evaluator = None
    data = tiny_config.train_dataloader.dataset
    names = [f'class {index}' for index in range(19)]
    data.update(type='BaseSegDataset', metainfo=dict(classes=names, palette=[[1.5, 2.0, 3.0]] * 19))
    del data['domain']
    runner = build_runner(tiny_config)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert 'checkpoints will not name the palette of the data: [[1.5' in caplog.text
    card = card_of(read_checkpoint(f'{runner.work_dir}/iter_4.pth'))
    assert card['classes'] == names and 'palette' not in card
    assert open_checkpoint(f'{runner.work_dir}/iter_4.pth').card.classes == names


def test_a_full_fine_tuning_knows_its_grid(tiny_config, build_runner):
    tiny_config.val_dataloader = tiny_config.val_cfg = tiny_config.val_evaluator = None
    tiny_config.model.backbone.adapter = None
    runner = build_runner(tiny_config)
    runner.train()
    file = f'{runner.work_dir}/iter_4.pth'
    assert card_of(read_checkpoint(file))['positions'] == [4, 4]
    tiny_config.model.backbone.update(img_size=(16, 64), init_cfg=None)
    with pytest.raises(CheckpointError, match='positions of 4 x 4 patches, the model 2 x 8'):
        load_plain(build_model(tiny_config), file)
