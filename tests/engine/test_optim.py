import copy
import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from soma.adapters import adapter_names, inject_adapter
from soma.engine import GroupedOptimWrapperConstructor
from soma.engine.optim import group_by_settings

RULES = dict(
    norm_decay_mult=0.0,
    bias_lr_mult=2.0,
    bias_decay_mult=0.5,
    dwconv_decay_mult=0.1,
    flat_decay_mult=0.3,
    custom_keys={
        'backbone': dict(lr_mult=0.1),
        'backbone.norm': dict(lr_mult=0.1, decay_mult=0.0),
        'query': dict(decay_mult=0.0, eps=1e-5),
    },
)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({'conv': nn.Conv2d(3, 4, 1), 'norm': nn.BatchNorm2d(4)})
        self.neck = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.GroupNorm(2, 4))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        self.query = nn.Embedding(2, 4)
        self.scale = nn.Parameter(torch.ones(4))


def optimizer(constructor, model, rules=RULES):
    settings = dict(optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
    return constructor(settings, rules)(model).optimizer


def settings_by_name(optimizer, model):
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]: {k: v for k, v in group.items() if k in optimizer.defaults and k != 'fused'}
        for group in optimizer.param_groups
        for p in group['params']
    }


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.setLevel(logging.INFO)
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_equal_settings_are_joined_and_no_parameter_lost_or_doubled():
    a, b, c, d, e = (nn.Parameter(torch.randn(1)) for _ in range(5))
    groups = group_by_settings(
        [
            {'params': [a], 'lr': 0.1},
            {'params': [b], 'lr': 0.2},
            {'params': [c]},
            {'params': [d], 'weight_decay': 0.5, 'lr': 0.1, 'lr_mult': 1.0},
            {'params': [e], 'lr': 0.2, 'betas': (0.5, 0.9)},
        ],
        {'lr': 0.1, 'weight_decay': 0.5},
    )
    assert [[id(p) for p in g['params']] for g in groups] == [
        [id(a), id(c), id(d)],
        [id(b)],
        [id(e)],
    ]
    assert [(g['lr'], g['weight_decay']) for g in groups] == [(0.1, 0.5), (0.2, 0.5), (0.2, 0.5)]
    assert groups[2]['betas'] == (0.5, 0.9) and 'betas' not in groups[1]


@pytest.mark.parametrize('rules', [RULES, dict(norm_decay_mult=0.0), dict(bias_decay_mult=0.0)])
def test_each_parameter_gets_what_mmengine_gives_it(rules):
    model = Network()
    expected = optimizer(DefaultOptimWrapperConstructor, model, rules)
    actual = optimizer(GroupedOptimWrapperConstructor, model, rules)
    assert settings_by_name(actual, model) == settings_by_name(expected, model)
    assert sum(len(g['params']) for g in actual.param_groups) == len(list(model.parameters()))
    assert len(actual.param_groups) < len(expected.param_groups)


def test_few_groups():
    model = Network()
    different = {
        str(sorted(s.items()))
        for s in settings_by_name(optimizer(DefaultOptimWrapperConstructor, model), model).values()
    }
    actual = optimizer(GroupedOptimWrapperConstructor, model)
    assert len(actual.param_groups) == len(different)
    rules = dict(norm_decay_mult=0.0)
    assert len(optimizer(GroupedOptimWrapperConstructor, model, rules).param_groups) == 2


@pytest.mark.parametrize('rules', [RULES, None])
def test_frozen_parameters_are_left_out(rules):
    model = Network()
    model.backbone.requires_grad_(False)
    model.head[1].weight.requires_grad_(False)
    names = settings_by_name(optimizer(GroupedOptimWrapperConstructor, model, rules), model)
    assert names.keys() == {n for n, p in model.named_parameters() if p.requires_grad}


def test_a_shared_parameter_is_taken_once():
    model = Network()
    model.tail = model.head[0]
    rules = dict(norm_decay_mult=0.0, bypass_duplicate=True)
    groups = optimizer(GroupedOptimWrapperConstructor, model, rules).param_groups
    members = [id(p) for g in groups for p in g['params']]
    assert len(members) == len(set(members)) == len(list(model.parameters()))


def test_the_log_has_one_line_a_group(log):
    model = Network()
    model.scale.requires_grad_(False)
    groups = optimizer(GroupedOptimWrapperConstructor, model).param_groups
    assert len(log.messages) == len(groups)
    counts = [sum(p.numel() for p in g['params']) for g in groups]
    for index, (line, count) in enumerate(zip(log.messages, counts, strict=True)):
        assert line.startswith(f'optimizer group {index}: lr=') and f' {count} parameters' in line
    log.clear()
    MMLogger.get_current_instance().info('paramwise_options are silenced only meanwhile')
    assert len(log.messages) == 1


@pytest.mark.skipif(torch.__version__ < '2.4', reason='no fused step on CPUs')
@pytest.mark.parametrize('kind', ['Adam', 'AdamW'])
def test_the_fused_step_is_the_plain_one(kind):
    plain = Network()
    fused = copy.deepcopy(plain)
    for model, options in ((plain, dict(foreach=False)), (fused, {})):
        settings = dict(optimizer=dict(type=kind, lr=1e-2, weight_decay=0.05, **options))
        steps = GroupedOptimWrapperConstructor(settings, RULES)(model).optimizer
        assert {group['fused'] for group in steps.param_groups} == {None if options else True}
        for seed in range(3):
            torch.manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            steps.step()
    for actual, expected in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)


def test_an_optimizer_without_a_fused_step():
    settings = dict(optimizer=dict(type='Adadelta', lr=1e-2))
    assert len(GroupedOptimWrapperConstructor(settings)(Network()).optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ('kind', 'spared'),
    [
        ('SVF', {'S'}),
        ('DoRA', {'magnitude'}),
        ('SoMA', set()),
        ('BitFit', set()),
        ('RecycleLoRA', {'A', 'B', 'A_sub', 'B_sub'}),
    ],
)
def test_what_starts_away_from_zero_does_not_decay(kind, spared):
    model = nn.ModuleDict({'backbone': nn.Sequential(nn.Linear(4, 4)), 'head': nn.Linear(4, 2)})
    rank = {} if kind in ('SVF', 'BitFit') else {'rank': 2}
    rank |= {'sub_rank': 1} if kind == 'RecycleLoRA' else {}
    inject_adapter(model['backbone'], dict(type=kind, targets='0', **rank))
    rules = dict(custom_keys={'backbone': dict(lr_mult=0.5, decay_mult=0.5)})
    result = settings_by_name(optimizer(GroupedOptimWrapperConstructor, model, rules), model)
    in_adapter = {name: result.pop(f'backbone.{name}') for name in adapter_names(model['backbone'])}
    assert {name.split('.')[1] for name, s in in_adapter.items() if not s['weight_decay']} == spared
    assert {s['weight_decay'] for s in in_adapter.values()} <= {0.0, 0.025}
    for name, values in in_adapter.items():
        assert values['lr'] == (2.5e-4 if name.endswith('_sub') else 5e-4)
    assert {s['weight_decay'] for s in result.values()} == {0.05}
    # AdamW's own decay, which no config says
    settings = dict(optimizer=dict(type='AdamW', lr=1e-3))
    result = settings_by_name(GroupedOptimWrapperConstructor(settings)(model).optimizer, model)
    still = {name for name, s in result.items() if not s['weight_decay']}
    assert still == {f'backbone.0.{name}' for name in spared}
