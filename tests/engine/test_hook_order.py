"""The hooks that the runner registers itself, before and after those of any config."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer

from soma.engine.hooks import (
    CardHook,
    CheckHook,
    FiniteLossHook,
    MissedValidationHook,
    SeedHook,
)
from soma.engine.seeding import seed_step
from soma.io.checkpoint_files import read_checkpoint


class Extreme(Hook):
    """A hook of a config, of the first or the last priority."""

    def __init__(self, priority):
        self.priority = priority
        self.drawn, self.losses = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.drawn.append(torch.rand(2))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'])

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['meta']['count'] = np.int64(3)
        checkpoint['meta']['owner'] = self
        checkpoint['message_hub']['log_scalars'] = {'a': HistoryBuffer([1.0], [1])}


def order(runner):
    return [type(hook) for hook in runner.hooks]


@pytest.mark.parametrize('custom', [None, [], [dict(type='BlockFreezeHook')]])
def test_ours_are_first_and_last(tiny_config, build_runner, custom):
    tiny_config.custom_hooks = custom
    hooks = order(build_runner(tiny_config))
    assert hooks[:3] == [CheckHook, SeedHook, FiniteLossHook]
    assert hooks[-2:] == [CardHook, MissedValidationHook]


def test_what_the_others_see_and_do(tiny_config, build_runner):
    extremes = [Extreme('HIGHEST'), Extreme('LOWEST')]
    runner = build_runner(tiny_config, {'custom_hooks': extremes})
    first, last = [hook for hook in runner.hooks if isinstance(hook, Extreme)]
    assert order(runner)[:4] == [CheckHook, SeedHook, FiniteLossHook, Extreme]
    assert order(runner)[-3:] == [Extreme, CardHook, MissedValidationHook]
    runner.train()
    for iteration, drawn in enumerate(first.drawn):
        seed_step(0, 0, iteration)
        assert torch.equal(drawn, torch.rand(2))
    assert len(first.drawn) == 4 and [*map(type, first.losses)] == [float] * 4
    assert first.losses == last.losses
    content = read_checkpoint(f'{runner.work_dir}/iter_4.pth')  # tensors and plain data only
    meta, card = content['meta'], content['meta']['soma']
    assert type(meta['count']) is int and 'Extreme' in meta['owner']
    assert content['message_hub']['log_scalars']['a']['log_history'] == [1]
    assert card == {**runner.card.to_dict(), 'iteration': 4} and card['method'] == 'SoMA'


def test_the_log_names_the_hooks_and_the_file_of_the_config(
    tiny_config, build_runner, tmp_path, capsys
):
    tiny_config.dump(tmp_path / 'tiny.py')
    runner = build_runner(Config.fromfile(tmp_path / 'tiny.py'), {'log_level': 'INFO'})
    (log,) = tmp_path.glob('work/*/*.log')
    text = log.read_text()
    assert 'SeedHook (HIGHEST), FiniteLossHook (HIGHEST), RuntimeInfoHook (VERY_HIGH)' in text
    console = capsys.readouterr().out
    assert 'SeedHook' not in console and 'seed 0; the whole config' in console
    file = tmp_path / 'work/tiny.py'
    assert f'seed 0; the whole config is in {file}\n' in text and file.is_file()
    assert text.count('\n') < 12 and 'paramwise_cfg' not in text
    assert Config.fromfile(file).to_dict() == runner.cfg.to_dict()
