"""The scripts and configs of docs/user_guides run; what needs heavy packages: tests/slow."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from training_loops import check_training

from soma.checkpoints import extract_adapter, open_checkpoint
from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import InputError


@pytest.mark.parametrize('script', ['plain', 'accelerated'])
def test_training_loops(example, script, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)  # a script that ran here before has set it
    example('../user_guides/training_loops.md')
    check_training(script)


def test_a_project_of_mmseg(example, tiny_config, run_here, no_charts):
    """Their script and their runner train; what comes out is tested, extracted, loaded."""
    folder = example('../user_guides/in_your_project.md')
    Path('mmsegmentation').symlink_to(files('mmseg') / '.mim')
    config = Config.fromfile('yours.py')
    assert 'runner_type' not in config and config.model.backbone.adapter.rank == 16
    config.model.data_preprocessor.size = (32, 32)
    config.model.backbone.update(tiny_config.model.backbone)
    for name in ('decode_head', 'auxiliary_head'):
        config.model[name].update(in_channels=16, channels=8, norm_cfg=dict(type='BN'))
    for name in tiny_config.keys() - {'model', 'default_hooks', 'custom_hooks', 'runner_type'}:
        config[name] = tiny_config[name]
    hooks = ('BlockFreezeHook', 'WeightDecayLoggerHook', 'TrainableEMAHook', 'DomainReportHook')
    config.update(work_dir='work', custom_hooks=[dict(type=name) for name in hooks])
    config.default_hooks.checkpoint.interval = 4
    config.dump('here.py')
    script = folder / 'mmsegmentation/tools/train.py'
    run_here(script, folder / 'here.py')
    (report,) = Path('work').glob('*/domains_iter_4.json')
    assert {'citys', 'fog'} == json.loads(report.read_text())['domains'].keys()

    content = read_checkpoint('work/iter_4.pth')
    state = content['state_dict']
    assert 'soma' not in content['meta'] and 'backbone.patch_embed.proj.weight' in state
    extract_adapter('work/iter_4.pth', 'adapter.safetensors')
    tensors = open_checkpoint('adapter.safetensors').tensors
    assert 'backbone.blocks.2.attn.qkv.A' in tensors and len(tensors) < len(state)
    model = init_model(str(folder / 'here.py'), 'work/iter_4.pth', device='cpu')
    assert all(torch.equal(model.state_dict()[name], value) for name, value in tensors.items())
    run_here('test.py', folder / 'here.py', '--adapter', 'adapter.safetensors')

    choice = 'default_hooks.checkpoint.type=AdapterCheckpointHook'
    with pytest.raises(InputError, match=r"needs runner_type='SomaRunner' instead of Runner"):
        run_here(script, folder / 'here.py', '--cfg-options', choice, 'work_dir=other')
