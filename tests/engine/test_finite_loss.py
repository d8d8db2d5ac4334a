import json
import math
from pathlib import Path

import pytest
import torch

from soma.engine.hooks.finite_loss import LossError, check_losses, fetch_losses


class Sample(dict):
    """As a data sample answers."""


def test_all_losses_come_in_one_copy(monkeypatch):
    copies = []
    copy = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda self: copies.append(self) or copy(self))
    for name in ('item', '__float__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, lambda self: copies.append(self))
    losses = {f'd{i}.loss': torch.tensor(float(i), requires_grad=True) for i in range(30)}
    losses |= {'half': torch.tensor([0.5]).bfloat16(), 'whole': torch.tensor(3), 'given': 0.25}
    result = fetch_losses(losses)
    assert len(copies) == 1
    assert list(result) == list(losses) and {type(value) for value in result.values()} == {float}
    assert result['d7.loss'] == 7 and [*result.values()][-3:] == [0.5, 3, 0.25]
    assert fetch_losses({'given': 0.25}) == {'given': 0.25}


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_what_is_wrong_is_named(value):
    batch = {'data_samples': [Sample(img_path='a.png'), Sample(), Sample(img_path='b.png')]}
    losses = {'loss': value, 'loss_mask': 1.0, 'd0.loss_dice': value}
    named = rf'iteration 7: loss = {value}, d0\.loss_dice = {value}\. .*: a\.png, one .*, b\.png$'
    with pytest.raises(LossError, match=named):
        check_losses(losses, 7, batch)
    with pytest.raises(LossError, match=r'the batch does not name them\)$'):
        check_losses(losses, 7, [])
    check_losses({'loss': 1e30, 'acc_seg': value}, 7, batch)  # no loss


def break_at(iteration, factor):
    """A hook's function that multiplies the logits from an iteration on."""

    def before_train_iter(runner, batch_idx, data_batch=None):
        if batch_idx == iteration:
            weight = runner.model.decode_head.conv_seg
            weight.register_forward_hook(lambda module, x, y: y * factor)

    return before_train_iter


@pytest.mark.parametrize('accumulated', [1, 3])
def test_training_stops_and_writes_nothing(tiny_config, build_runner, accumulated):
    options = {
        'default_hooks.checkpoint.interval': 1,
        'optim_wrapper.accumulative_counts': accumulated,
    }
    runner = build_runner(tiny_config, options, before_train_iter=break_at(2, math.nan))
    with pytest.raises(LossError, match=r'iteration 3: loss = nan, .*gta/images/0000\d\.png') as e:
        runner.train()
    assert str(e.value).count('.png') == 2
    (log,) = Path(runner.work_dir).glob('*/*.log')
    assert str(e.value) in log.read_text()
    assert sorted(p.name for p in Path(runner.work_dir).glob('*.pth')) == [
        'iter_1.pth',
        'iter_2.pth',
    ]


def test_broken_weights_are_not_written(tiny_config, build_runner):
    """The loss may be fine, here or in the process that writes, and a gradient not."""

    def spoil(runner, batch_idx, data_batch=None):
        if batch_idx == 2:
            bias = runner.model.decode_head.conv_seg.bias
            bias.register_hook(lambda gradient: gradient * math.inf)

    options = {'default_hooks.checkpoint.interval': 1}
    runner = build_runner(tiny_config, options, before_train_iter=spoil)
    with pytest.raises(
        LossError, match=r'iter_3\.pth is not written: .*decode_head\.conv_seg\.bias'
    ):
        runner.train()
    assert sorted(p.name for p in Path(runner.work_dir).glob('*.pth')) == [
        'iter_1.pth',
        'iter_2.pth',
    ]


def test_hooks_get_numbers_after_one_copy(tiny_config, build_runner, monkeypatch):
    outputs, copies = [], []

    def note(runner, batch_idx, data_batch=None, outputs=None, seen=outputs):
        seen.append(outputs)

    options = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint': None}  # it copies, to write
    runner = build_runner(tiny_config, options, after_train_iter=note)
    call = runner.call_hook

    def count(moment, **kwargs):
        if moment != 'after_train_iter':
            return call(moment, **kwargs)
        with monkeypatch.context() as patch:
            for name in ('item', '__float__', 'tolist', 'cpu', 'numpy'):
                original = getattr(torch.Tensor, name)
                patch.setattr(torch.Tensor, name, lambda *a, f=original: copies.append(f) or f(*a))
            call(moment, **kwargs)

    monkeypatch.setattr(runner, 'call_hook', count)
    runner.train()
    assert len(copies) == len(outputs) == 2
    assert all(type(value) is float for output in outputs for value in output.values())
    (log,) = Path(runner.work_dir).glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    first, second = (output['loss'] for output in outputs)
    logged = [line['loss'] for line in lines if 'loss' in line]  # mean of the last steps
    assert logged == pytest.approx([first, (first + second) / 2])


def test_the_script_says_it_in_one_line(config_file, run_here):
    options = ['optim_wrapper.optimizer.lr=1e25', 'experiment_name=a']
    with pytest.raises(
        SystemExit,
        match=r'^error: iteration \d: loss = (nan|inf)[^\n]*\.png; there is no checkpoint yet$',
    ):
        run_here('train.py', config_file, '--cfg-options', *options)
