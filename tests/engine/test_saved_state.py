"""A training that is resumed with another config: what of its saved state is taken."""

import copy
import logging

import pytest
import torch
from mmengine.optim import OptimWrapper, ReduceOnPlateauLR

from soma.engine.saved_state import fit_state
from soma.io.files import InputError

SETTINGS = ('lr', 'weight_decay')
SGD = dict(_delete_=True, type='SGD', lr=0.01, weight_decay=0.01)
ADAMAX = dict(SGD, type='Adamax')


@pytest.fixture
def train(tiny_config, build_runner, caplog):
    """Train; what each step used, and the warnings about settings."""
    tiny_config.val_dataloader = tiny_config.val_cfg = tiny_config.val_evaluator = None
    tiny_config.default_hooks.checkpoint.interval = 2

    def run(max_iters, resume=None, ends=True, **options):
        steps = []

        def note(runner, batch_idx, data_batch=None):
            groups = runner.optim_wrapper.optimizer.param_groups
            steps.append([[group[name] for name in SETTINGS] for group in groups])

        options = {k.replace('__', '.'): copy.deepcopy(v) for k, v in options.items()}
        options = {
            **({} if max_iters is None else {'train_cfg.max_iters': max_iters}),
            **({f'param_scheduler.{i}.end': max_iters for i in range(2)} if ends else {}),
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
        (
            dict(param_scheduler__0=dict(type='CosineAnnealingLR', end=4, by_epoch=False)),
            'param_scheduler.0 was of another type',
        ),
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


@pytest.mark.parametrize(
    'options',
    [
        dict(param_scheduler=[dict(type='CosineAnnealingMomentum', end=4, by_epoch=False)]),
        dict(param_scheduler=[dict(type='OneCycleLR', eta_max=0.1, total_steps=5, by_epoch=False)]),
        dict(optim_wrapper__optimizer=dict(type='TorchAdafactor', lr=0.01)),
    ],
    ids=['momentum', 'one cycle', 'adafactor'],
)
def test_states_of_every_kind_resume_without_a_word(train, options):
    whole, _, first = train(4, ends=False, **options)
    steps, warnings, _ = train(4, f'{first.work_dir}/iter_2.pth', ends=False, **options)
    assert not warnings
    assert steps == whole[2:]


def test_a_schedule_that_follows_the_scores_resumes():
    def parts():
        wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1))
        return wrapper, ReduceOnPlateauLR(wrapper, monitor='loss')

    wrapper, schedule = parts()
    schedule.step({'loss': 1.0})
    state = dict(optimizer=wrapper.state_dict(), param_schedulers=[schedule.state_dict()])
    wrapper, schedule = parts()
    assert fit_state({**state, 'meta': dict(iter=1, epoch=1)}, wrapper, [schedule]) == []
    schedule.patience = 3
    with pytest.raises(InputError, match='follows the scores cannot be changed on the way'):
        fit_state({**state, 'meta': dict(iter=1, epoch=1)}, wrapper, [schedule])


@pytest.mark.parametrize(('batch', 'lr'), [(1, 0.01), (4, 0.02)])
def test_epochs_of_another_length(train, tmp_path, batch, lr):
    """Schedules by epoch go on with the epoch, whatever its length."""
    schedule = [dict(type='PolyLR', end=4, by_epoch=True)]
    options = dict(
        train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=4, val_interval=9),
        train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True),
        default_hooks__checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1),
        param_scheduler=schedule,
        log_processor__by_epoch=True,
    )
    _, _, first = train(None, ends=False, optim_wrapper__optimizer__lr=0.01, **options)
    changed = dict(train_dataloader__batch_size=batch, optim_wrapper__optimizer__lr=lr)
    whole, _, _ = train(None, ends=False, work_dir=str(tmp_path / 'b'), **changed, **options)
    steps, *_ = train(None, f'{first.work_dir}/epoch_3.pth', ends=False, **changed, **options)
    assert steps == whole[len(whole) * 3 // 4 :]


def test_another_batch_size_is_named(train):
    _, _, first = train(4)
    _, warnings, _ = train(4, f'{first.work_dir}/iter_2.pth', train_dataloader__batch_size=1)
    assert warnings == ['train_dataloader.batch_size was 2 and is 1 now']


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(optim_wrapper__optimizer=SGD), 'optimizer.type was AdamW and is SGD now'),
        (dict(optim_wrapper__optimizer=ADAMAX), 'optimizer.type was AdamW and is Adamax now'),
        (dict(model__backbone__adapter__train_bias=False), 'this is another fine-tuning'),
        (dict(train_cfg__max_iters=1), 'of iter 2, and train_cfg.max_iters is 1'),
    ],
)
def test_a_training_of_another_kind_is_refused(train, options, reason):
    _, _, first = train(2)
    with pytest.raises(InputError, match=reason) as error:
        train(4, f'{first.work_dir}/iter_2.pth', **options)
    assert '\n' not in str(error.value)


def test_states_of_numbers_become_those_of_vectors():
    """Which parameters of older versions were (the scale of Rein): the next step is the same."""
    parameters = [torch.nn.Parameter(torch.full(shape, 0.5)) for shape in ((), (1,))]
    old, new = (OptimWrapper(torch.optim.Adam([p], lr=0.1)) for p in parameters)
    old.update_params(2 * parameters[0])
    parameters[1].data = parameters[0].data.view(1).clone()
    checkpoint = dict(optimizer=copy.deepcopy(old.state_dict()), meta=dict(iter=1, epoch=0))
    assert fit_state(checkpoint, new, []) == []
    new.load_state_dict(checkpoint['optimizer'])
    for wrapper, parameter in ((old, parameters[0]), (new, parameters[1])):
        wrapper.update_params(3 * parameter.sum())
    assert torch.equal(parameters[0], parameters[1][0]) and parameters[0] != 0.4
    (state,) = new.state_dict()['state'].values()
    assert (state['exp_avg'].shape, state['step'].shape) == ((1,), ())
