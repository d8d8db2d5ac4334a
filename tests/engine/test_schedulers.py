import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

STEPS, ETA_MIN = 20, 1e-5
DECAYS = (0.05, 0.0, 0.01)


def make(**options):
    groups = [
        dict(params=[nn.Parameter(torch.ones(1))], weight_decay=w, lr=0.1 * (i + 1))
        for i, w in enumerate(DECAYS)
    ]
    optimizer = torch.optim.AdamW(groups)
    options = dict(eta_min=ETA_MIN, by_epoch=False, **(options or dict(end=STEPS)))
    config = dict(type='CosineAnnealingWeightDecay', optimizer=optimizer, **options)
    return optimizer, PARAM_SCHEDULERS.build(config)


def decays(optimizer):
    return [group['weight_decay'] for group in optimizer.param_groups]


def advance(optimizer, scheduler, steps):
    values = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        values.append(decays(optimizer))
    return values


def cosine(start, step):
    return ETA_MIN + (start - ETA_MIN) * (1 + math.cos(math.pi * step / STEPS)) / 2


@pytest.mark.parametrize('options', [dict(begin=0, end=STEPS), dict(T_max=STEPS)])
def test_decay_follows_the_cosine_and_zero_stays_zero(options):
    optimizer, scheduler = make(**options)
    values = [decays(optimizer), *advance(optimizer, scheduler, STEPS - 1)]
    assert len(values) == STEPS
    for step, (first, second, third) in enumerate(values):
        assert second == 0
        assert first == pytest.approx(cosine(0.05, step), rel=1e-9)
        assert third == pytest.approx(cosine(0.01, step), rel=1e-9)


def test_the_last_value_is_kept():
    optimizer, scheduler = make(begin=0, end=STEPS)
    last = advance(optimizer, scheduler, STEPS - 1)[-1]
    assert advance(optimizer, scheduler, 5) == [last] * 5


def test_learning_rate_is_not_touched():
    optimizer, scheduler = make()
    advance(optimizer, scheduler, STEPS)
    assert [group['lr'] for group in optimizer.param_groups] == [0.1 * (i + 1) for i in range(3)]


def test_a_loaded_scheduler_goes_on_alike():
    optimizer, scheduler = make()
    advance(optimizer, scheduler, 7)
    again, other = make()
    again.load_state_dict(optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    assert advance(again, other, STEPS - 7) == advance(optimizer, scheduler, STEPS - 7)


def warm(end=40, **options):
    groups = [dict(delay=5, warmup=10), {}, dict(delay=5)]
    groups = [dict(params=[nn.Parameter(torch.ones(1))], lr=0.2, **group) for group in groups]
    optimizer = torch.optim.AdamW(groups)
    config = dict(type='WarmupPolyLR', optimizer=optimizer, warmup=4, end=end, **options)
    return optimizer, PARAM_SCHEDULERS.build(config)


def test_groups_warm_up_in_their_time_and_all_end_at_zero():
    optimizer, scheduler = warm()
    values = []
    for _ in range(42):
        values.append([group['lr'] / 0.2 for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    first, second, third = zip(*values, strict=True)
    assert first[:6] == (0,) * 6 and third[:6] == (0,) * 6
    assert first[10] == pytest.approx(0.5) and second[2] == pytest.approx(0.5)
    assert first[15] == second[4] == third[9] == 1
    assert first[20] == pytest.approx((20 / 25) ** 0.9)
    assert second[22] == pytest.approx(0.5**0.9)
    assert values[39] == pytest.approx([(1 / 25) ** 0.9, (1 / 36) ** 0.9, (1 / 31) ** 0.9])
    assert values[41] == values[39]  # the last ones stay


def test_a_warm_up_beyond_the_end_is_refused():
    with pytest.raises(ValueError, match='before end=15, got together 15'):
        warm(end=15)
