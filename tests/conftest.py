"""What the tests share: a tiny DINOv2 in the public format, and a tiny training set-up."""

import copy
import gc
import itertools
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

os.environ['OMP_NUM_THREADS'] = '1'  # before torch is imported: as many processes as cores run

import numpy as np
import pytest
import torch
import yapf.yapflib.yapf_api  # writes a cache that is not safe in two processes: before they start
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from PIL import Image
from small_configs import box_data, tiny_detector  # noqa: F401

from soma.adapters import ADAPTERS
from soma.io.checkpoint_files import write_checkpoint
from soma.models import DINOv2
from soma.utils.config import REPOSITORY

# A shell lets what it starts in the background ignore it, and its children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch waits so long, five seconds, for a worker of a loader that nobody has read to its end.
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.2

ARCH = dict(embed_dim=16, depth=4, num_heads=2)


# Files whose tests wait for processes, the longest first: at the end one worker would idle.
SLOW = ('resume', 'scripts', 'distributed', 'benchmark', 'import', 'demo', 'schemes', 'configs')


def pytest_collection_modifyitems(items):
    order = {f'test_{name}.py': index for index, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish():
    """Leave what was imported out of Python's garbage collection, a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def _processes_start_as_for_users():
    folders = [str(Path(__file__).parent / 'subprocesses'), os.environ.get('PYTHONPATH', '')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, folders))


@pytest.fixture(scope='session', autouse=True)
def _configs_are_not_laid_out():
    """The layout of a config's text takes most of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, 'FormatCode', lambda text, **options: (text, True))
        yield


@pytest.fixture
def no_charts(monkeypatch):
    """Reports without their charts, which take a third of a short test."""
    for name in ('save_chart', 'save_results'):
        monkeypatch.setattr(f'soma.evaluation.report_hook.{name}', lambda *arguments: None)


@pytest.fixture(autouse=True)
def _repeatable():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def public_file(tmp_path_factory):
    """A small DINOv2 as the public files are: patch 14, 5 x 5 positions, with a mask token."""
    torch.manual_seed(1)
    model = DINOv2(
        {**ARCH, 'init_values': 0.5}, img_size=70, patch_size=14, out_indices=[0, 1, 2, 3]
    )
    state = {
        name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()
    }
    path = tmp_path_factory.mktemp('public') / 'dinov2_vittiny14_pretrain.pth'
    write_checkpoint({**state, 'mask_token': torch.zeros(1, 16)}, path)
    return path


@pytest.fixture(scope='session')
def street_data(tmp_path_factory):
    """Four images and labels in the layout of a converted GTA: 3 classes in stripes."""
    root = tmp_path_factory.mktemp('data') / 'gta'
    rng = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        labels = np.zeros((48, 80), np.uint8)
        labels[: 16 + index], labels[30 + index :] = 10, 2
        labels[:2] = 255
        noise = rng.integers(0, 60, (48, 80, 3))
        colours = np.zeros((256, 3), int)
        colours[[10, 2]] = (0, 90, 180), (180, 40, 0)
        image = (colours[labels] + noise).astype(np.uint8)
        Image.fromarray(image).save(root / 'images' / f'{index:05d}.png')
        Image.fromarray(labels).save(root / 'labels' / f'{index:05d}_labelTrainIds.png')
    return root


@pytest.fixture
def tiny_config(make_tiny, tmp_path):
    return make_tiny(tmp_path / 'work')


@pytest.fixture(scope='session')
def make_tiny(public_file, street_data):
    """Make the config of a tiny training, whose work dir is given."""
    return partial(tiny_training, public_file, street_data)


def tiny_training(public_file, street_data, work_dir):
    """SoMA on the tiny backbone with a linear head, 4 iterations on ``street_data``."""
    data = dict(
        type='DomainDataset',
        data_root=str(street_data),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png',
        seg_map_suffix='_labelTrainIds.png',
        serialize_data=False,  # which collects garbage, slowly
    )
    meta_keys = ('img_path', 'ori_shape', 'img_shape', 'domain')
    test = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs', meta_keys=meta_keys),
    ]
    train = [*test[:2], dict(type='RandomCrop', crop_size=(32, 32)), dict(type='PackSegInputs')]
    domains = [dict(data, domain=name, pipeline=test) for name in ('citys', 'fog')]
    test_dataloader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ConcatDataset', datasets=domains),
    )
    return Config(
        dict(
            default_scope='mmseg',
            runner_type='SomaRunner',
            work_dir=str(work_dir),
            launcher='none',
            env_cfg=dict(dist_cfg=dict(backend='gloo')),
            log_level='WARNING',
            log_processor=dict(by_epoch=False),
            randomness=dict(seed=0),
            visualizer=None,
            model=dict(
                type='WindowEncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    mean=[123.675, 116.28, 103.53],
                    std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True,
                    size=(32, 32),
                    seg_pad_val=255,
                ),
                backbone=dict(
                    type='DINOv2',
                    arch=ARCH,
                    img_size=32,
                    patch_size=8,
                    out_indices=[0, 1, 2, 3],
                    adapter=dict(type='SoMA', rank=2, start_block=2),
                    init_cfg=dict(type='Pretrained', checkpoint=str(public_file)),
                ),
                decode_head=dict(
                    type='FCNHead',
                    in_channels=16,
                    in_index=3,
                    channels=8,
                    num_convs=1,
                    num_classes=19,
                    loss_decode=dict(type='CrossEntropyLoss'),
                ),
                test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)),
            ),
            optim_wrapper=dict(
                constructor='GroupedOptimWrapperConstructor',
                optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.05),
                paramwise_cfg=dict(
                    norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.5))
                ),
            ),
            param_scheduler=[
                dict(type='PolyLR', end=4, by_epoch=False),
                dict(type='CosineAnnealingWeightDecay', eta_min=1e-5, end=4, by_epoch=False),
            ],
            custom_hooks=[dict(type='BlockFreezeHook'), dict(type='WeightDecayLoggerHook')],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4),
            ),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(data, domain='gta', pipeline=train),
            ),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4),
            val_dataloader=test_dataloader,
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='DomainIoUMetric'),
            test_dataloader=test_dataloader,
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='DomainIoUMetric'),
            test_pipeline=test,
        )
    )


@pytest.fixture
def tta(tiny_config):
    """What ``tiny_config`` lacks for test-time augmentation."""
    load, annotations, pack = tiny_config.test_pipeline
    meta_keys = (*pack['meta_keys'], 'flip', 'flip_direction')
    transforms = [
        [dict(type='Resize', scale_factor=1.0, keep_ratio=True)],
        [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)],
        [dict(annotations)],
        [dict(pack, meta_keys=meta_keys)],
    ]
    pipeline = [dict(load), dict(type='TestTimeAug', transforms=transforms)]
    return dict(tta_pipeline=pipeline, tta_model=dict(type='SegTTAModel'))


@pytest.fixture
def build_runner(tmp_path):
    """Build the runner of a config, with a hook that calls functions by the name of a moment.

    Each runner gets a name of its own, since mmengine shares logs among runners of one name.
    """
    numbers = itertools.count()

    def build(config, options=None, priority='VERY_HIGH', **moments):
        config = copy.deepcopy(config)
        config.merge_from_dict(options or {})
        config.experiment_name = f'{tmp_path.name}_{next(numbers)}'
        runner = RUNNERS.build(config)
        hook = Hook()
        for moment, function in moments.items():
            setattr(hook, moment, function)
        runner.register_hook(hook, priority)
        return runner

    return build


@pytest.fixture
def run_tool(tmp_path):
    """Run a script of ``tools/`` in another folder, ``tmp_path / 'elsewhere'``; it must succeed."""
    folder = tmp_path / 'elsewhere'
    folder.mkdir()

    def run(script, *arguments, **environment):
        file = Path(__file__).parents[1] / 'tools' / script
        command = ['bash' if file.suffix == '.sh' else sys.executable, file, *arguments]
        environment = {**os.environ, **environment}
        done = subprocess.run(
            list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def run_tools(run_tool, tmp_path):
    """Run several scripts of ``tools/`` in one process; they must succeed.

    With ``processes``, by ``tools/dist_run.sh``.
    """
    several = '../tests/subprocesses/several.py'

    def run(*commands, processes=None, **environment):
        (tmp_path / 'commands.json').write_text(json.dumps([[*map(str, c)] for c in commands]))
        start = ['dist_run.sh', processes, several] if processes else [several]
        return run_tool(*start, tmp_path / 'commands.json', **environment)

    return run


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


@pytest.fixture
def config_file(tiny_config, tmp_path):
    tiny_config.custom_imports = dict(imports=['soma'])
    tiny_config.work_dir = None
    tiny_config.dump(tmp_path / 'tiny.py')
    return tmp_path / 'tiny.py'


@pytest.fixture
def run_here(tmp_path, monkeypatch, build_runner):
    """Run a script in this process, to save the imports, in ``tmp_path / 'elsewhere'``."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        monkeypatch.setenv('LOCAL_RANK', '0')
        (tmp_path / 'elsewhere').mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / 'elsewhere')
        file = Path(__file__).parents[1] / 'tools' / script
        monkeypatch.syspath_prepend(file.parent)  # as of any script
        runpy.run_path(str(file), run_name='__main__')

    return run


@pytest.fixture
def example(tmp_path, tiny_config, monkeypatch):
    """Write the files of a guide into a folder: blocks that begin with their name, `# name.py`.

    The base config of each, if it is one of `configs/`, becomes the tiny one.
    """
    folder = tmp_path / 'example'
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    modules, methods = set(sys.modules), set(ADAPTERS)

    def write(guide, **model):
        for part, settings in model.items():
            tiny_config.model.pop(part, None)
            tiny_config.model[part] = settings
        tiny_config.train_pipeline = tiny_config.train_dataloader.dataset.pipeline
        tiny_config.dump(folder / 'tiny.py')
        text = (REPOSITORY / 'docs/advanced_guides' / guide).read_text()
        for name, code in re.findall(r'```python\n# (\w+\.py)\n(.*?)```', text, re.DOTALL):
            base = re.search(r"^_base_ = '(.*)'$", code, re.MULTILINE)
            if base and base[1].startswith('configs/'):
                assert (REPOSITORY / base[1]).is_file()
                code = code.replace(base[1], 'tiny.py')
            (folder / name).write_text(code)
        return folder

    yield write
    for name in set(sys.modules) - modules:  # the examples' own
        if Path(getattr(sys.modules[name], '__file__', None) or '').parent == folder:
            del sys.modules[name]
    for name in set(ADAPTERS) - methods:
        del ADAPTERS[name]
