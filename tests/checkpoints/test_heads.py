"""Fine-tuning to other classes: all of a checkpoint but its heads."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from soma.adapters.card import Card
from soma.checkpoints import Checkpoint, extract_adapter, merge_files
from soma.checkpoints.heads import choose_heads
from soma.inference import Inferencer
from soma.io.checkpoint_files import read_state_dict
from soma.io.files import CheckpointError, InputError
from soma.utils.num_classes import write_num_classes

OWN = dict(classes=['low', 'middle', 'high'], label_map={0: 'low', 2: 'middle', 10: 'high'})


@pytest.fixture
def other_classes(tiny_config):
    """A training on three classes, whose weights stay as they start."""
    config = copy.deepcopy(tiny_config)
    datasets = [config.train_dataloader.dataset, *config.test_dataloader.dataset.datasets]
    for dataset in datasets:
        dataset.update(OWN)
    config.num_classes = 3
    config.optim_wrapper.optimizer.lr = 0.0
    config.log_level = 'INFO'
    return config


def test_all_kinds_of_files_but_their_heads(tiny_config, other_classes, build_runner, tmp_path):
    runner = build_runner(tiny_config, {'train_cfg.max_iters': 1})
    runner.train()
    files = {'training': f'{runner.work_dir}/iter_1.pth'}
    files |= {name: str(tmp_path / f'{name}.safetensors') for name in ('adapter', 'merged')}
    extract_adapter(files['training'], files['adapter'])
    merge_files(None, files['training'], files['merged'])
    start = {}

    def remember(runner, checkpoint):
        start.update({name: value.clone() for name, value in runner.model.state_dict().items()})

    for kind, file in files.items():
        options = {'load_from': file, 'load_heads': False, 'train_cfg.max_iters': 1}
        options['work_dir'] = str(tmp_path / kind)
        runner = build_runner(other_classes, options, after_load_checkpoint=remember)
        runner.train()
        state, there = runner.model.state_dict(), read_state_dict(file)
        head = [name for name in state if name.startswith('decode_head.')]
        trained = [n for n, _ in runner.model.named_parameters() if n in head]  # no statistics
        assert trained and all(torch.equal(state[name], start[name]) for name in trained)
        assert state['decode_head.conv_seg.weight'].shape[0] == 3
        rest = [name for name in there if name in state and name not in head]
        assert len(rest) > 10 and all(torch.equal(state[name], there[name]) for name in rest)
        (log,) = Path(tmp_path / kind).glob('*/*.log')
        assert f'load_heads=False: decode_head as new, all else from {file}' in log.read_text()
    message = re.escape(
        'predicts 19 classes (road, sidewalk, building, wall, fence, ...), the config 3 (low, '
        'middle, high): take its config, leave the config out (predict), or start with load_heads='
    )
    with pytest.raises(CheckpointError, match=message):
        build_runner(other_classes, {'load_from': files['training']}).train()
    with pytest.raises(CheckpointError, match=message):
        write_num_classes(other_classes)
        Inferencer(other_classes, files['adapter'], 'cpu', 'nowhere.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'load_heads': False}, 'load_heads=False is for load_from'),
        ({'load_heads': 0, 'load_from': 'x.pth'}, 'load_heads must be True or False, got 0'),
    ],
)
def test_what_a_config_may_not_say(tiny_config, build_runner, options, message):
    with pytest.raises(InputError, match=message):
        build_runner(tiny_config, options)


def model_of(**parts):
    return nn.ModuleDict({name: nn.Linear(2, size) for name, size in parts.items()})


def choose(model, file, load):
    return choose_heads(model, Checkpoint(file.state_dict(), Card(), 'x.pth'), load)


def test_which_parts_are_heads():
    model = model_of(backbone=1, rpn_head=2, roi_head=3, dn_query_generator=3)
    file = model_of(backbone=1, rpn_head=2, roi_head=7, dn_query_generator=7, mask_head=1)
    chosen = choose(model, file, load=False)
    assert chosen.keys() == model.state_dict().keys()
    assert torch.equal(chosen['rpn_head.weight'], file['rpn_head'].weight)
    assert torch.equal(chosen['roi_head.weight'], model['roi_head'].weight)
    message = re.escape('roi_head.weight is [7, 2] there and [3, 2] in the model; load_heads=False')
    with pytest.raises(CheckpointError, match=message):
        choose(model, file, load=True)
    with pytest.raises(InputError, match='the model has no head'):
        choose(model_of(backbone=1), file, load=False)
    with pytest.raises(CheckpointError, match=r'x\.pth holds heads only'):
        choose(model, model_of(roi_head=1), load=False)
