"""Speed and memory of training and testing, without data, comparable between machines."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, get_start_method
from pathlib import Path

import mmcv
import mmengine
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmseg.apis import init_model
from rich.table import Table

from .checkpoints import load_plain
from .config import amp_dtype, load_config, use_amp, use_plain_model
from .datasets import SyntheticDataset
from .reporting import as_text
from .unpickle import trust_files
from .version import __version__


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        config: Config file of a segmentor.
        checkpoint: File to start from; speed does not depend on it.
        batch_size: Pictures a step; the config's if None.
        size: Width and height of the test pictures; training takes the config's crops.
        iterations: Number of steps that are timed.
        warmup: Number of steps before them.
        amp: Whether to compute in mixed precision.
        options: Values that replace the config's, by dotted key.
        trust: Whether a pickled checkpoint may run code.

    Raises:
        ValueError: If a number is out of range.
    """

    config: str | os.PathLike
    checkpoint: str | os.PathLike | None = None
    batch_size: int | None = None
    size: tuple[int, int] = (2048, 1024)
    iterations: int = 20
    warmup: int = 5
    amp: bool = False
    options: Mapping | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        width, height = self.size
        numbers = dict(iterations=self.iterations, width=width, height=height)
        if self.batch_size is not None:
            numbers['batch_size'] = self.batch_size
        wrong = {name: value for name, value in numbers.items() if value < 1}
        wrong |= {'warmup': self.warmup} if self.warmup < 0 else {}
        if wrong:
            raise ValueError(f'benchmark: too small: {wrong}')


def run_benchmark(settings: Settings, phases: Sequence[str] = ('train', 'test')) -> dict:
    """Measure each phase in a process of its own, so that each has its own peak of memory.

    Args:
        settings: What to measure.
        phases: ``'train'``, ``'test'`` or both.

    Returns:
        Plain data: the machine, and by phase what was measured and how.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If the config does not fit.
    """
    config = load_config(settings.config, settings.options)
    if settings.checkpoint is not None and not Path(settings.checkpoint).is_file():
        raise FileNotFoundError(f'no checkpoint at {settings.checkpoint}')
    for part in ('decode_head.num_classes', 'data_preprocessor.size', 'backbone'):
        if _part(config, f'model.{part}') is None:
            raise ValueError(f'{settings.config} is no segmentor: it has no model.{part}')
    found = {}
    for phase in phases:
        with ProcessPoolExecutor(1, get_context('spawn')) as process:
            found[phase] = process.submit(_run_phase, phase, settings).result()
    return {
        'soma': __version__,
        'config': Path(settings.config).stem,
        'options': dict(settings.options or {}),
        'machine': machine(),
        'phases': found,
    }


def machine() -> dict:
    """Describe where this runs."""
    names = Path('/proc/cpuinfo')
    lines = names.read_text().splitlines() if names.is_file() else []
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    usable = getattr(os, 'sched_getaffinity', None)  # on Linux
    return {
        'system': platform.platform(),
        'cpu': models[0] if models else platform.processor(),
        'cores': len(usable(0)) if usable else os.cpu_count(),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'mmengine': mmengine.__version__,
        'mmcv': mmcv.__version__,
    }


def benchmark_table(found: Mapping) -> str:
    """Draw what :func:`run_benchmark` returned."""
    machine = found['machine']
    table = Table(title=f'{found["config"]}, soma {found["soma"]}')
    for name in ('phase', 'pictures', 'batch', 'precision', 'weights'):
        table.add_column(name)
    for name in ('images/s', 's/iteration', 'peak memory'):
        table.add_column(name, justify='right')
    for phase, values in found['phases'].items():
        seconds = values['seconds_per_iteration']
        table.add_row(
            phase,
            ' x '.join(map(str, values['size'])),
            str(values['batch_size']),
            values['precision'],
            values['weights'],
            f'{values["images_per_second"]:.3g}',
            f'{seconds["median"]:.3g} ({seconds["min"]:.3g} to {seconds["max"]:.3g})',
            f'{values["peak_memory_mb"]:,.0f} MB of the {values["memory_of"]}',
        )
    device = machine['gpu'] or f'{machine["cpu"]}, {machine["threads"]} threads'
    versions = ', '.join(f'{name} {machine[name]}' for name in ('torch', 'mmengine', 'mmcv'))
    return f'{as_text(table)}\n{device}; {machine["cores"]} cores; {versions}'


class _StepTimer(Hook):
    """The duration of each training step, with all that other hooks do in it."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.durations, self.last = [], 0.0

    def before_train_epoch(self, runner) -> None:
        self.last = _now()

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        now = _now()
        self.durations.append(now - self.last)
        self.last = now


def _run_phase(phase: str, settings: Settings) -> dict:
    """Measure one phase in this process, whose peak of memory is then the phase's."""
    config = load_config(settings.config, settings.options)
    config.log_level = 'ERROR'
    with trust_files(settings.trust):
        found = {'train': _train, 'test': _test}[phase](config, settings)
    durations = found.pop('durations')[settings.warmup :]
    median = statistics.median(durations)
    gpu = torch.cuda.is_available()
    # In kilobytes on Linux, in bytes on macOS. It starts at that of the parent, which only imports.
    unit = 1 if sys.platform == 'darwin' else 1024
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {
        **found,
        'warmup': settings.warmup,
        'iterations': settings.iterations,
        'images_per_second': found['batch_size'] / median,
        'seconds_per_iteration': dict(median=median, min=min(durations), max=max(durations)),
        'peak_memory_mb': (torch.cuda.max_memory_allocated() if gpu else process) / 1e6,
        'memory_of': 'GPU' if gpu else 'process',
    }


def _train(config: Config, settings: Settings) -> dict:
    """Train with the config's own runner, hooks and optimizer, on synthetic crops."""
    height, width = config.model.data_preprocessor['size']
    batch_size = settings.batch_size or config.train_dataloader.batch_size
    weights = _start(config, settings.checkpoint)
    if settings.amp:
        use_amp(config)
    classes = config.model.decode_head.num_classes
    config.train_dataloader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(type='SyntheticDataset', size=(width, height), num_classes=classes),
    )
    for name in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            config[f'{name}_{part}'] = None
    iterations = settings.warmup + settings.iterations
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
    config.merge_from_dict(
        {'default_hooks.checkpoint': None, 'env_cfg.mp_cfg.mp_start_method': get_start_method()}
    )
    timer = _StepTimer()
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        runner = RUNNERS.build(config)
        runner.register_hook(timer)
        runner.train()
    wrapper = config.optim_wrapper
    halved = config.model.backbone.get('base_dtype', 'float32') != 'float32'
    given = {'AmpOptimWrapper': wrapper.get('dtype', 'float16'), 'BFloat16OptimWrapper': 'bfloat16'}
    plain = 'float32, backbone bfloat16' if halved else 'float32'
    precision = given.get(wrapper.get('type'), plain)
    return {
        'size': [width, height],
        'batch_size': batch_size,
        'precision': precision,
        'weights': weights,
        'durations': timer.durations,
    }


def _test(config: Config, settings: Settings) -> dict:
    """Predict with the plain model, as ``tools/test.py`` does, on synthetic pictures."""
    batch_size = settings.batch_size or config.test_dataloader.batch_size
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    dtype = amp_dtype()
    pretrained = use_plain_model(config)
    model = init_model(config, None, device='cpu')
    if settings.checkpoint is not None:
        load_plain(model, settings.checkpoint, pretrained)
    model = model.to(device).eval()
    data = SyntheticDataset(settings.size, config.model.decode_head.num_classes, batch_size)
    durations = []
    with torch.no_grad(), torch.autocast(device, getattr(torch, dtype), enabled=settings.amp):
        for _ in range(settings.warmup + settings.iterations):
            start = _now()
            samples = [data[index] for index in range(batch_size)]
            model.test_step({key: [s[key] for s in samples] for key in samples[0]})
            durations.append(_now() - start)
    return {
        'size': [*settings.size],
        'batch_size': batch_size,
        'precision': dtype if settings.amp else 'float32',
        'weights': str(settings.checkpoint or 'random'),
        'durations': durations,
    }


def _start(config: Config, checkpoint: str | os.PathLike | None) -> str:
    """Say in a config where training starts: a file, the pretrained weights if there, or nothing.

    Returns:
        What it is.
    """
    config.resume, config.load_from = False, checkpoint and str(checkpoint)
    backbone = config.model.backbone
    file = (backbone.get('init_cfg') or {}).get('checkpoint')
    if file and not Path(file).is_file():
        backbone.init_cfg = None
        file = None
    return str(checkpoint or file or 'random')


def _part(config: Mapping, name: str):
    """What stands in a config under a dotted name, None if nothing does."""
    for key in name.split('.'):
        config = config.get(key) if isinstance(config, Mapping | Config) else None
    return config


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
