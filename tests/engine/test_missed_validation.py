"""What a killed run has left undone is done when it is resumed."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import InputError
from soma.io.hub import checkpoint_in


class Killed(Exception):
    """In place of a signal."""


def kill(*_, **__):
    raise Killed


@pytest.fixture
def train(tiny_config, build_runner, tmp_path):
    """Train with given scores, killed at a moment; the iterations of its validations."""
    tiny_config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook', by_epoch=False, interval=2, save_best='mean_mIoU'
    )
    tiny_config.train_cfg.val_interval = 2

    def run(scores=None, resume=True, **moments):
        validated = []

        def score(runner, metrics):
            validated.append(runner.iter)
            if scores:
                metrics['mean_mIoU'] = scores[runner.iter]

        options = {'resume': resume, 'work_dir': str(tmp_path / 'work')}
        runner = build_runner(tiny_config, options, after_val_epoch=score)
        last = Hook()
        for moment, function in moments.items():
            setattr(last, moment, function)
        runner.register_hook(last, 'LOWEST')
        try:
            runner.train()
        except Killed:
            validated.append('killed')
        return validated

    return run


@pytest.fixture
def left(tmp_path):
    return lambda: sorted(path.name for path in (tmp_path / 'work').glob('*.pth'))


def scores_of(folder):
    lines = [
        json.loads(line)
        for path in sorted(Path(folder).glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {line['step']: line['mean_mIoU'] for line in lines if 'mean_mIoU' in line}


def test_the_last_validation_is_made_up_for(train, left, tmp_path):
    def kill_late(runner, *_, **__):
        if runner.iter == 4:
            raise Killed

    assert train(after_val_iter=kill_late) == [2, 'killed']
    assert scores_of(tmp_path / 'work').keys() == {2}
    assert train() == [4]
    scores = scores_of(tmp_path / 'work')
    best = f'best_mean_mIoU_iter_{max(scores, key=scores.get)}.pth'
    assert scores.keys() == {2, 4} and left() == [best, 'iter_2.pth', 'iter_4.pth']
    assert train() == []  # once


def test_a_best_file_is_neither_orphaned_nor_replaced_by_a_worse(train, left, tmp_path):
    """It dies between the best file and what would have followed."""
    scores, best = {2: 0.7, 4: 0.6}, 'best_mean_mIoU_iter_2.pth'
    unlink = Path.unlink

    def die(path, **options):
        unlink(path, **options)
        if path.name.startswith('.best_mean'):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, 'unlink', die)
        assert train(scores) == [2, 'killed']
    assert left() == [best, 'iter_2.pth']
    assert train(scores) == [4]
    assert left() == [best, 'iter_2.pth', 'iter_4.pth']
    info = read_checkpoint(tmp_path / 'work' / 'iter_4.pth')['message_hub']['runtime_info']
    assert info['best_score'] == 0.7 and Path(info['best_ckpt']).name == best
    assert checkpoint_in(tmp_path / 'work').name == best  # though the last is newer


def test_a_best_file_that_was_decided_is_written(train, left, tmp_path):
    """It dies between the checkpoint that says so and the best file."""
    scores = {2: 0.5, 4: 0.6}

    def die(runner, checkpoint):
        if runner.checkpoint_name.startswith('best_mean_mIoU_iter_4'):
            raise Killed

    assert train(scores, before_save_checkpoint=die) == [2, 4, 'killed']
    assert left() == ['best_mean_mIoU_iter_2.pth', 'iter_2.pth', 'iter_4.pth']
    assert train(scores) == []
    assert left() == ['best_mean_mIoU_iter_4.pth', 'iter_2.pth', 'iter_4.pth']
    best, last = (read_checkpoint(tmp_path / 'work' / name)['state_dict'] for name in left()[::2])
    assert all(torch.equal(best[name], last[name]) for name in last)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(val_interval=4), ['killed']),
        (dict(val_interval=2), [2, 'killed']),
        (dict(val_interval=2, val_begin=3), ['killed']),
        (dict(val_interval=4, dynamic_intervals=[(2, 1)]), [2, 'killed']),
        (dict(max_iters=2, val_interval=4), [2]),
    ],
)
def test_it_is_made_up_for_where_it_was_due(tiny_config, train, options, expected):
    tiny_config.train_cfg.update(options)
    train(after_train_iter=lambda runner, **_: kill() if runner.iter == 1 else None)
    assert train(before_train_iter=kill) == expected


def test_files_of_others_stay(train, left, tmp_path):
    names = ['best_model.pth', 'iter_x.pth', '.notes.4711.pth', 'iter_1.pth', '.iter_2.old.pth']
    (tmp_path / 'work').mkdir()
    for name in names:
        (tmp_path / 'work' / name).touch()
    half = tmp_path / 'work' / '.best_mean_mIoU_iter_2.4711.pth'
    half.touch()
    train(resume=False)
    train()
    assert {*names} <= {*left()} and not half.exists()


def test_a_resumed_run_of_another_folder_removes_nothing_here(train, left, tmp_path, tiny_config):
    tiny_config.default_hooks.checkpoint.max_keep_ckpts = 1
    tiny_config.train_cfg.max_iters = 2
    train()
    (tmp_path / 'work').rename(tmp_path / 'other')
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'iter_2.pth').touch()  # a user's own
    tiny_config.train_cfg.max_iters = 4
    tiny_config.load_from = str(tmp_path / 'other' / 'iter_2.pth')
    train()
    assert 'iter_2.pth' in left() and 'iter_4.pth' in left()


def test_a_validation_draws_the_same_numbers_again(tiny_config, build_runner):
    drawn = []

    def draw(runner, **_):
        drawn.append(torch.rand(3))

    for seed in (1, 2):
        torch.manual_seed(seed)
        build_runner(tiny_config, before_val_iter=draw).val()
    first, second = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert first and all(map(torch.equal, first, second))


@pytest.fixture
def early(tiny_config):
    """A training that stops after its second validation, at 4, between two checkpoints."""
    hook = dict(type='EarlyStoppingHook', monitor='mean_mIoU', min_delta=1000, patience=1)
    tiny_config.custom_hooks = [hook]
    tiny_config.default_hooks.checkpoint.interval = 3
    tiny_config.train_cfg.max_iters = 9
    for domain in tiny_config.val_dataloader.dataset.datasets:
        domain.indices = [0]
    return tiny_config.custom_hooks[0]


def test_a_killed_run_stops_early_where_it_would_have(train, early, left, tmp_path):
    kill_at_3 = lambda runner, **_: kill() if runner.iter == 3 else None  # noqa: E731
    assert train(before_train_iter=kill_at_3) == [2, 'killed']
    assert train() == [4]
    assert [name for name in left() if name.startswith('iter')] == ['iter_3.pth', 'iter_4.pth']
    last = tmp_path / 'work' / 'iter_4.pth'
    assert (tmp_path / 'work' / 'last_checkpoint').read_text() == str(last)
    written = last.stat().st_mtime_ns
    assert train() == [] and last.stat().st_mtime_ns == written
    early.patience = 2
    assert train() == [6]


def test_a_score_to_stop_by_that_is_none_is_named(train, early):
    early.monitor = 'aAcc'
    with pytest.raises(InputError, match="monitor='aAcc' is none of the scores: citys_mIoU, "):
        train()


def test_a_test_asks_for_no_training_data(tiny_config, train, early, build_runner):
    profiler = dict(type='ProfilerHook', by_epoch=False, profile_times=2)
    tiny_config.custom_hooks.append(profiler)
    tiny_config.train_dataloader.dataset.data_root = 'nowhere'
    assert 'citys_mIoU' in build_runner(tiny_config).test()
