"""A training that is resumed with another config: what of its saved state is taken."""

import logging

import pytest

from soma.io.files import InputError

SETTINGS = ('lr', 'weight_decay')
SGD = dict(type='SGD', lr=0.01, weight_decay=0.01)


@pytest.fixture
def train(tiny_config, build_runner, caplog):
    """Train; what each step used, and the warnings about settings."""
    tiny_config.val_dataloader = tiny_config.val_cfg = tiny_config.val_evaluator = None
    tiny_config.default_hooks.checkpoint.interval = 2

    def run(max_iters, resume=None, **options):
        steps = []

        def note(runner, batch_idx, data_batch=None):
            groups = runner.optim_wrapper.optimizer.param_groups
            steps.append([[group[name] for name in SETTINGS] for group in groups])

        options = {key.replace('__', '.'): value for key, value in options.items()}
        options = {
            'train_cfg.max_iters': max_iters,
            **{f'param_scheduler.{index}.end': max_iters for index in range(2)},
            'resume': resume is not None,
            'load_from': resume,
            **options,
        }
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            runner = build_runner(tiny_config, options, before_train_iter=note)
            runner.logger.addHandler(caplog.handler)
            runner.train()
        mark = 'resumed with another setting: '
        lines = [r.getMessage() for r in caplog.records if mark in r.getMessage()]
        return steps, [line.removeprefix(mark) for line in lines], runner

    return run


def test_a_longer_run_goes_on_as_if_it_had_been_long_from_the_start(train, tmp_path):
    longer, _, _ = train(8, work_dir=str(tmp_path / 'longer'))
    _, _, short = train(4)
    steps, warnings, _ = train(8, f'{short.work_dir}/iter_4.pth')
    assert steps == longer[4:]
    assert steps[0][0][0] > 0
    assert 'train_cfg.max_iters was 4 and is 8 now' in warnings
    assert 'param_scheduler.0: end was 4 and is 8 now' in warnings


@pytest.mark.parametrize(
    ('options', 'warning'),
    [
        (dict(optim_wrapper__optimizer__lr=0.5), 'lr was 0.01 and is 0.5 now'),
        (dict(optim_wrapper__optimizer__weight_decay=0.5), 'weight_decay was 0.05 and is 0.5 now'),
        (dict(param_scheduler__0__power=2), 'param_scheduler.0: power was 1.0 and is 2 now'),
        (dict(optim_wrapper__optimizer__eps=1e-3), 'eps was 1e-08 and is 0.001 now'),
    ],
)
def test_a_setting_that_was_changed_is_taken(train, tmp_path, options, warning):
    whole, _, _ = train(4, work_dir=str(tmp_path / 'other'), **options)
    _, _, first = train(4)
    steps, warnings, runner = train(4, f'{first.work_dir}/iter_2.pth', **options)
    assert steps == whole[2:]
    assert warning in warnings
    if 'optim_wrapper__optimizer__eps' in options:
        assert {g['eps'] for g in runner.optim_wrapper.optimizer.param_groups} == {1e-3}


def test_an_equal_config_takes_the_saved_state_without_a_word(train):
    whole, _, first = train(4)
    steps, warnings, _ = train(4, f'{first.work_dir}/iter_2.pth')
    assert steps == whole[2:]
    assert not warnings


def test_another_batch_size_is_named(train):
    _, _, first = train(4)
    _, warnings, _ = train(4, f'{first.work_dir}/iter_2.pth', train_dataloader__batch_size=1)
    assert warnings == ['train_dataloader.batch_size was 2 and is 1 now']


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (
            dict(
                optim_wrapper__optimizer=dict(_delete_=True, type='SGD', lr=0.01, weight_decay=0.01)
            ),
            'of another kind',
        ),
        (dict(model__decode_head__channels=4), 'differ in shape'),
        (dict(model__backbone__adapter__train_bias=False), 'this is another fine-tuning'),
        (dict(train_cfg__max_iters=1), 'iteration 2, and train_cfg.max_iters is 1'),
    ],
)
def test_a_training_of_another_kind_is_refused(train, options, reason):
    _, _, first = train(2)
    with pytest.raises(InputError, match=reason) as error:
        train(4, f'{first.work_dir}/iter_2.pth', **options)
    assert '\n' not in str(error.value)
