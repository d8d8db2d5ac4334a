"""Trainings whose parameters the processes share out (``strategy``), in one process and in two."""

import copy
import os
import re
import signal
import socket
import traceback
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import RUNNERS
from processes import fork_two
from torch import nn

from soma.adapters.sharded import is_sharded
from soma.engine.checks import check_config
from soma.engine.distributed import held_mb, shard
from soma.engine.hooks import TrainableEMAHook
from soma.engine.hooks.shard import ShardHook
from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import InputError
from soma.utils.config import REPOSITORY, load_config


@pytest.fixture
def config(tiny_config):
    """Four iterations with an average, and a validation before the last two."""
    tiny_config.custom_imports = None
    tiny_config.custom_hooks = [
        dict(type='BlockFreezeHook'),
        dict(type='TrainableEMAHook', momentum=0.3, begin_iter=1),
    ]
    tiny_config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook', by_epoch=False, interval=2, save_best='mean_mIoU'
    )
    tiny_config.train_cfg.val_interval = 2
    tiny_config.optim_wrapper.clip_grad = dict(max_norm=0.05)
    for domain in tiny_config.val_dataloader.dataset.datasets:
        domain.indices = [0]
    return tiny_config


def documented():
    """The config and the options of the guide."""
    text = (REPOSITORY / 'docs/user_guides/train_and_test.md').read_text()
    config, line = re.search(r'dist_train.sh (\S+) 4 \\\n +--cfg-options (.*)', text).groups()
    return config, dict(option.split('=') for option in line.split())


@pytest.fixture
def group(monkeypatch):
    """One process as the launcher ``pytorch`` starts it."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    ranks = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    for name, value in ranks.items():
        monkeypatch.setenv(name, str(value))
    # Autograd starts threads at its first pass, if there is a group, and tests that fork fail then.
    torch.ones(1, requires_grad=True).sum().backward()
    torch.distributed.init_process_group('gloo')
    yield
    torch.distributed.destroy_process_group()


def assert_same(folder, expected, atol=0.0):
    """Weights, average, optimizer and schedules of two runs are the same."""
    first, second = (read_checkpoint(f'{path}/iter_4.pth') for path in (folder, expected))
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(first[part], second[part], rtol=0, atol=atol)
    states = (content['optimizer'].pop('state') for content in (first, second))
    torch.testing.assert_close(*states, rtol=0, atol=atol)
    for part in ('optimizer', 'param_schedulers'):
        assert first[part] == second[part]


def test_a_sharded_training_is_the_same(config, build_runner, no_charts, tmp_path, group):
    """As one that goes on from its checkpoint without a strategy."""
    file, options = documented()
    check_config(load_config(REPOSITORY / file, options))
    assert options.pop('model.backbone.base_dtype') == 'bfloat16'
    config.merge_from_dict({**options, 'launcher': 'pytorch'})
    seen = []

    def look(runner, *_, **__):
        seen.append([is_sharded(p) for p in runner.model.parameters()])

    runner = build_runner(config, after_train_iter=look, before_val_iter=look)
    runner.train()
    assert [*map(any, seen)] == [True, True, False, False, True, True, False, False]
    resume = dict(resume=True, load_from=f'{config.work_dir}/iter_2.pth', strategy=None)
    build_runner(config, {**resume, 'launcher': 'none', 'work_dir': str(tmp_path / 'one')}).train()
    assert_same(config.work_dir, tmp_path / 'one')


def test_numbers_and_states_are_shared_out_too(group):
    """Of a network without blocks; state dicts keep their shapes."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    net.scale = nn.Parameter(torch.tensor(2.0))
    alone = copy.deepcopy(net)

    def step(net, optimizer):
        optimizer.zero_grad()
        (net(torch.ones(1, 3)) * net.scale).square().sum().backward()
        optimizer.step()

    optimizers = [torch.optim.AdamW(n.parameters(), lr=0.1) for n in (net, alone)]
    step(net, optimizers[0])
    step(alone, optimizers[1])
    assert shard(net, optimizers[:1]) == [net] and held_mb(net) == [36 / 2**20]
    assert all(map(is_sharded, net.parameters()))
    net.forward = lambda x: nn.Linear.forward(net, x) * net.scale
    optimizers[0].zero_grad()
    net(torch.ones(1, 3)).square().sum().backward()
    optimizers[0].step()
    step(alone, optimizers[1])
    torch.testing.assert_close(net.state_dict(), dict(alone.state_dict()), rtol=0, atol=0)
    states = [optimizer.state_dict()['state'] for optimizer in optimizers]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    average, content = TrainableEMAHook(), {'state_dict': net.state_dict()}
    average.before_train(SimpleNamespace(model=net))
    average.before_save_checkpoint(None, content)
    torch.testing.assert_close(content['state_dict'], dict(alone.state_dict()), rtol=0, atol=0)


def test_losses_that_are_scaled_are_refused():
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    with pytest.raises(InputError, match='strategy: losses cannot be scaled'):
        ShardHook().before_run(SimpleNamespace(optim_wrapper=wrapper, hooks=[]))


@pytest.mark.slow
def test_two_processes_resume_after_one_is_killed(config, tmp_path):
    """The other one ends with an error; what is resumed, by two or by one, is the same."""
    runs = dict(
        plain=dict(),
        shared=dict(strategy=dict(type='FSDP2')),
        killed=dict(strategy=dict(type='FSDP2'), resume=True),
    )
    for name, options in runs.items():
        runs[name] = copy.deepcopy(config)
        runs[name].merge_from_dict({**options, 'work_dir': str(tmp_path / name)})
    assert train(runs['plain']) == train(runs['shared']) == [0, 0]
    assert_same(tmp_path / 'shared', tmp_path / 'plain', atol=1e-6)
    codes = train(runs['killed'], killed=1)  # before the validation, which is then the first
    assert codes[1] == -signal.SIGKILL and codes[0] > 0
    assert (tmp_path / 'killed/last_checkpoint').read_text().endswith('iter_2.pth')
    assert train(runs['killed']) == [0, 0]
    assert_same(tmp_path / 'killed', tmp_path / 'shared')


def train(config, killed=None):
    """Train in two processes, of which one may be killed at the first validation; exit codes."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return fork_two(_train, copy.deepcopy(config), port, killed)


def _train(rank, config, port, killed):
    ranks = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR='127.0.0.1')
    os.environ.update({name: str(value) for name, value in ranks.items()}, MASTER_PORT=str(port))
    config.launcher, config.experiment_name = 'pytorch', f'rank{rank}_{port}'
    runner = RUNNERS.build(config)
    if rank == killed:
        kill = Hook()
        kill.before_val_epoch = lambda runner: os.kill(os.getpid(), signal.SIGKILL)
        runner.register_hook(kill)
    try:
        runner.train()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
