"""Sets of models that are trained, averaged and tested by one command."""

import json
import re
import weakref
from functools import partialmethod

import pytest
import torch

from soma.engine.model_set import read_set
from soma.engine.runner import SomaRunner
from soma.io.checkpoint_files import card_of, read_checkpoint, read_state_dict
from soma.utils.cli import add_test, add_training, runner_parser
from soma.utils.config import REPOSITORY, load_config

PARTS = {'1': '', '4': 'pixmix_', '5': 'bilateral_', '6': 'pixmix-bilateral_'}


def test_sets_are_those_of_revt():
    sets = sorted((REPOSITORY / 'configs/revt').glob('revt-*.py'))
    assert len(sets) == 12
    for path in sets:
        numbers, size, end = re.fullmatch(r'revt-(\d+)_mit-(b\d)_(.*)', path.name).groups()
        assert numbers in ('146', '456')
        numbers = numbers.replace('45', '54')  # the release begins with the bilateral filter's
        names = [f'segformer_mit-{size}_{PARTS[number]}{end}' for number in numbers]
        text = path.read_text()
        assert re.findall(r"'(segformer.*\.py)'", text) == names
        assert all(path.with_name(name).is_file() for name in names)
        assert f"_base_ = './segformer_mit-{size}_{end}'" in text


@pytest.mark.parametrize(('size', 'source'), [('b2', 'gta'), ('b5', 'synthia')])
def test_the_sixth_model_is_that_of_revt(size, source):
    name = f'segformer_mit-{size}_pixmix-bilateral_{source}2cbm_512x512.py'
    config = load_config(REPOSITORY / 'configs/revt' / name)
    data = config.train_dataloader.dataset
    assert data.domain == source and data.pipeline[4].prob == 0.5
    steps = [step.type for step in data.pipeline[4:]]
    assert steps == ['RandomFlip', 'BilateralFilter', 'PixMix', 'PackDomainInputs']
    assert config.model.backbone.type == 'SegFormerMiT'
    assert config.model.decode_head.type == 'PlainSegformerHead'
    assert config.train_cfg.val_interval == 5000


@pytest.fixture
def model_set(tiny_config, tmp_path):
    """Config files of three tiny SegFormers of other seeds, and of their set."""
    tiny_config.model.backbone = dict(
        type='SegFormerMiT', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 2, 2]
    )
    tiny_config.model.decode_head = dict(
        type='PlainSegformerHead',
        in_channels=[8, 16, 16, 16],
        in_index=[0, 1, 2, 3],
        channels=8,
        num_classes=19,
        norm_cfg=dict(type='BN'),
    )
    tiny_config.model.test_cfg = dict(mode='whole')
    tiny_config.train_cfg.update(max_iters=2, val_interval=9)
    tiny_config.custom_imports = dict(imports=['soma'])
    tiny_config.default_hooks.checkpoint.type = 'AdapterCheckpointHook'
    backends = [dict(type='LocalVisBackend')]
    tiny_config.visualizer = dict(
        type='SegLocalVisualizer', name='visualizer', vis_backends=backends
    )
    tiny_config.work_dir = None
    for seed in range(3):
        tiny_config.randomness.seed = seed
        tiny_config.dump(tmp_path / f'model_{seed}.py')

    def write(**options):
        files = [f'model_{seed}.py' for seed in range(3)]
        tiny_config.average = dict(configs=files, weights_filter='backbone') | options
        tiny_config.dump(tmp_path / 'set.py')
        return tmp_path / 'set.py'

    return write


@pytest.fixture
def parse():
    """Parse the arguments of tools/train_average.py."""

    def parse(*words):
        parser = runner_parser('x')
        add_test(parser)
        add_training(parser)
        return parser.parse_args([*map(str, words)])

    return parse


@pytest.fixture
def runners(monkeypatch):
    """Runners that train; those before must have left the memory."""
    runners = []

    def check(self, method):
        assert not any(runner() for runner in runners)
        runners.append(weakref.ref(self))
        return method(self)

    for name in ('train', 'test'):
        monkeypatch.setattr(SomaRunner, name, partialmethod(check, getattr(SomaRunner, name)))
    return runners


def test_a_set_is_trained_averaged_and_tested_and_goes_on(
    model_set, run_here, tmp_path, capsys, runners
):
    config, works = model_set(), tmp_path / 'elsewhere/work_dirs'
    run_here('train.py', tmp_path / 'model_1.py')  # is not trained again
    before = (works / 'model_1/iter_2.pth').stat().st_mtime_ns
    run_here('train_average.py', config, '--list')
    listed = capsys.readouterr().out
    rows = [line.split(maxsplit=2) for line in listed.splitlines() if 'model_' in line]
    assert [row[0] for row in rows] == [str(tmp_path / f'model_{i}.py') for i in range(3)]
    assert [row[1] for row in rows] == [f'work_dirs/model_{i}/iter_2.pth' for i in range(3)]
    assert [row[2].strip() for row in rows] == ['not begun', 'done', 'not begun']
    runners.clear()
    with pytest.raises(SystemExit) as stopped:  # after the first step, which is saved
        run_here('train_average.py', config, '--stop-after', '0.001s')
    assert stopped.value.code == 0
    assert 'iter_1.pth' in (works / 'model_0/last_checkpoint').read_text()
    assert not (works / 'model_2').exists()
    runners.clear()  # the error holds it
    run_here('train_average.py', config)
    assert len(runners) == 3
    for name in ('model_0', 'model_2', 'set'):
        assert list((works / name).glob('*/vis_data/*')), name
    assert (works / 'model_1/iter_2.pth').stat().st_mtime_ns == before
    first, *others = (read_state_dict(works / f'model_{seed}/iter_2.pth') for seed in range(3))
    result = read_state_dict(works / 'set/average.pth')
    assert result.keys() == first.keys()
    for name, value in result.items():
        mean = sum(state[name].double() for state in (first, *others)) / 3
        expected = mean.float() if name.startswith('backbone.') else first[name]
        assert torch.equal(value, expected), name
    assert card_of(read_checkpoint(works / 'set/average.pth'))['average']['operation'] == 'mean'
    (scores,) = (works / 'set').glob('*/*.json')
    assert 'mean_mIoU' in json.loads(scores.read_text())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(configs=['model_0.py', 'nowhere.py']), r'no config file .*nowhere\.py'),
        (dict(configs=['model_0.py', 'model_0.py']), r'set\.py: .* names model_0\.py twice'),
        (dict(configs=['model_0.py']), r'set\.py: average: .* two files or more'),
        (dict(configs=3), r'set\.py has no average\.configs'),
        (dict(operation='median'), r"set\.py: average: operation must be .*'median'"),
        (dict(operations='min'), r'set\.py: average\.operations is none of'),
        (dict(configs=['model_0.py', 'other.py']), r'other\.py: its model is not that of'),
        (dict(configs=['model_0.py', 'set.py']), r'names .*/set\.py, which is of a set, too'),
        (dict(rank=2), r'average: no adapter is averaged that could have a rank of 2'),
        (dict(rank=0), r'average: rank 0 is out of range'),
        (dict(weights_filter='bakbone'), r"average: no tensor of .* begins with 'bakbone'"),
    ],
)
def test_a_set_that_cannot_be_averaged_is_refused(model_set, run_here, tmp_path, options, message):
    config = model_set(**options)
    text = (tmp_path / 'model_1.py').read_text().replace('channels=8,', 'channels=4,')
    (tmp_path / 'other.py').write_text(text)
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_here('train_average.py', config)
    assert not (tmp_path / 'elsewhere/work_dirs').exists()


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('--tta', 'no tta_pipeline, which --tta needs'),
        ('--test-data nowhere.py', r'nowhere\.py'),
        ('--out x.pkl', 'name a folder'),
        ('--show-dir ../set.py', r'set\.py'),
        ('--cfg-options model.backbone.adapter.type=DoRA', 'average: adapters of DoRA .* add up'),
    ],
)
def test_what_only_the_test_needs_is_checked_before_the_training(
    model_set, run_here, tmp_path, line, message
):
    config = model_set()
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_here('train_average.py', config, *line.split())
    assert not [*tmp_path.glob('elsewhere/work_dirs/model_*')]


def test_options_of_the_average_and_of_the_test_data_are_not_those_of_the_models(model_set, parse):
    options = ['average.operation=min', 'train_cfg.max_iters=3', 'test_dataloader.batch_size=7']
    config = model_set()
    models = read_set(parse(config, '--test-data', config, '--cfg-options', *options))
    assert models.options == dict(weights_filter='backbone', operation='min')
    for member in models.members:
        assert 'average' not in member.config and member.checkpoint.name == 'iter_3.pth'
        assert member.config.test_dataloader.batch_size == 1


def test_a_set_is_no_config_to_train_with(model_set, run_here):
    with pytest.raises(SystemExit, match=r'average: tools/train_average.py trains this set'):
        run_here('train.py', model_set())
