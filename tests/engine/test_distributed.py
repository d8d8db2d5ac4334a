import copy
import json
import logging
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from small_detectors import adapted, write_resnet
from timm.models.vision_transformer import VisionTransformer

from soma.engine.runner import SomaRunner
from soma.io.checkpoint_files import read_checkpoint, read_state_dict
from soma.models.backbones.dinov2_weights import convert_dinov2
from soma.utils.config import REPOSITORY

# Saves what each process sees. It comes from PYTHONPATH, by the config's custom_imports.
SPY = """
import shutil

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class SpyHook(Hook):
    priority = 'VERY_HIGH'

    def before_train(self, runner):
        self.wrapper, self.seen = type(runner.model).__name__, []
        self.unused = runner.model.find_unused_parameters
        runner.model.module.backbone.register_forward_hook(
            lambda module, x, maps: self.seen.append((x[0], [m.detach() for m in maps]))
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 3:  # before the validation
            torch.save({
                'wrapper': self.wrapper,
                'unused': self.unused,
                'state': runner.model.module.state_dict(),
                'trained': {
                    n for n, p in runner.model.module.named_parameters() if p.requires_grad
                },
                'inputs': [x for x, maps in self.seen],
                'maps': self.seen[0][1],
            }, f'{runner.work_dir}/rank{runner.rank}.pth')

    def after_train(self, runner):
        if runner.rank == 0:
            shutil.copy(f'{runner.work_dir}/iter_4.pth', f'{runner.work_dir}/again.pth')
"""


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_scripts_pass_all_on(script, run_tool, tmp_path):
    """To ``torch.distributed.run`` of the Python that the environment names."""
    (tmp_path / 'python').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'python').chmod(0o755)
    files = ['a b.py', 'c.pth'] if script == 'dist_test.sh' else ['a b.py']
    environment = dict(PYTHON=str(tmp_path / 'python'), PORT='12', NNODES='3', NODE_RANK='1')
    done = run_tool(script, *files, '2', '--work-dir', 'd e', **environment)
    lines = done.stdout.splitlines()
    place = next(i for i, line in enumerate(lines) if line.endswith(f'tools/{script[5:-3]}.py'))
    options = {'--nnodes=3', '--node_rank=1', '--master_port=12', '--nproc_per_node=2'}
    options |= {'--max_restarts=0'}
    assert options <= {*lines[:place]}
    assert lines[place + 1 :] == [*files, '--work-dir', 'd e', '--launcher', 'pytorch']


@pytest.fixture
def config_file(tiny_config, tmp_path):
    (tmp_path / 'spy.py').write_text(SPY)
    tiny_config.custom_imports = dict(imports=['soma', 'spy'])
    tiny_config.custom_hooks.append(dict(type='SpyHook'))
    tiny_config.model.backbone.pyramid = [1] * 4
    # an odd number of samples, so that one process has one more
    tiny_config.test_dataloader.dataset.datasets[1].indices = [0, 1, 3]
    tiny_config.dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


@pytest.mark.slow
def test_two_processes_train_and_test_as_one(
    tiny_config, config_file, build_runner, detector, run_tools, public_file, port, tmp_path
):
    environment = dict(PORT=port, PYTHONPATH=f'{tmp_path}:{REPOSITORY}:{os.environ["PYTHONPATH"]}')
    checkpoint, again = (f'{tiny_config.work_dir}/{name}.pth' for name in ('iter_4', 'again'))
    run_tools(
        ['train.py', config_file],
        ['test.py', config_file, checkpoint, '--work-dir', 'test'],
        ['test_ensemble.py', config_file, checkpoint, again, '--work-dir', 'ensemble'],
        ['train.py', tmp_path / 'detector.py'],
        processes=2,
        **environment,
    )
    ranks = [torch.load(f'{tiny_config.work_dir}/rank{i}.pth') for i in range(2)]
    start = convert_dinov2(read_state_dict(public_file), (32, 32), 8)
    del start['mask_token']
    plain = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=4, num_heads=2, init_values=1, num_classes=0
    )
    plain.load_state_dict(start)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: the order of sums depends on it
    for rank in ranks:
        assert rank['wrapper'] == 'MMDistributedDataParallel' and not rank['unused']
        maps = plain.forward_intermediates(rank['inputs'][0], intermediates_only=True)
        assert all(torch.equal(a, b) for a, b in zip(rank['maps'], maps, strict=True))
    torch.set_num_threads(threads)
    assert [a.shape for a in ranks[0]['inputs']] == [(2, 3, 32, 32)] * 4
    assert not any(map(torch.equal, *(rank['inputs'] for rank in ranks)))
    first, second = (rank['state'] for rank in ranks)
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    saved = read_checkpoint(checkpoint)['state_dict']
    assert [k for k in first if not torch.equal(first[k], saved[k])] == []
    backbone = {f'backbone.{k}': v for k, v in start.items()}
    changed = {k for k, v in backbone.items() if not torch.equal(first[k], v)}
    assert changed == {k for k in ranks[0]['trained'] if k in backbone} and changed

    tiny_config.custom_imports = None
    tiny_config.custom_hooks = []
    alone = build_runner(tiny_config, {'load_from': checkpoint}).test()
    for name in ('test', 'ensemble'):
        (log,) = (tmp_path / 'elsewhere' / name).glob('*/*.json')
        metrics = json.loads(log.read_text().splitlines()[-1])
        assert {k: metrics[k] for k in alone} == alone
    assert alone['citys_aAcc'] != alone['fog_aAcc']
    check_detector([torch.load(f'{detector.work_dir}/rank{i}.pth') for i in range(2)], tmp_path)


def test_without_gpus_norms_are_not_synchronised(monkeypatch, caplog):
    runner = SomaRunner.__new__(SomaRunner)
    runner.cfg, runner._distributed = Config(dict(sync_bn='torch')), True
    runner.logger = logging.getLogger('sync_bn')
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(Runner, 'wrap_model', lambda self, wrapper, model: self.cfg.sync_bn)
    assert runner.wrap_model(None, None) is None and 'sync_bn needs GPUs' in caplog.text


@pytest.fixture
def detector(tiny_detector, tmp_path):
    """A detector on a backbone with an adapter that starts from data, with the spy."""
    write_resnet(tmp_path / 'resnet.pth')
    config = copy.deepcopy(tiny_detector)
    config.model = adapted('faster_rcnn', tmp_path / 'resnet.pth')
    config.model.backbone.adapter['type'] = 'CorDA'
    config.custom_imports = dict(imports=['soma', 'spy'])
    config.custom_hooks += [dict(type=name) for name in ('StartFromDataHook', 'SpyHook')]
    config.train_cfg.update(max_iters=4, val_interval=10)
    config.default_hooks.checkpoint.interval = 4
    config.work_dir = str(tmp_path / 'detector')
    config.dump(tmp_path / 'detector.py')
    return config


def check_detector(ranks, tmp_path):
    assert not any(rank['unused'] for rank in ranks)
    assert not any(map(torch.equal, *(rank['inputs'] for rank in ranks)))
    first, second = (rank['state'] for rank in ranks)
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    base = read_state_dict(tmp_path / 'resnet.pth')
    for name, value in base.items():
        assert name.startswith('fc.') or torch.equal(first[f'backbone.{name}'], value)
    layer = 'backbone.layer4.0.conv1'
    assert first[f'{layer}.A0'].any() and (first[f'{layer}.A'] != first[f'{layer}.A0']).any()
