"""The speed of a config in one phase, training or testing, on synthetic images."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_start_method
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, RUNNERS

from soma.checkpoints.open import load_plain
from soma.engine.amp import amp_dtype, use_amp
from soma.io.checkpoint_files import pretrained_file
from soma.io.files import InputError
from soma.io.unpickle import trust_files
from soma.models.build import build_model, use_plain_model
from soma.utils.config import load_config

_SEGMENTOR = 'decode_head.num_classes'
_DETECTORS = ('bbox_head.num_classes', 'roi_head.bbox_head.num_classes')


@dataclass(frozen=True)
class Settings:
    """What to measure of the speed of a config.

    Attributes:
        config: Config file of a segmentor or a detector.
        checkpoint: File to start from; speed does not depend on it.
        batch_size: Images a step; the config's if None.
        size: Width and height of the images: of a segmentor's in testing (2048 x 1024 if None),
            while training takes the config's crops; of a detector's in both (the config's if None).
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
    size: tuple[int, int] | None = None
    iterations: int = 20
    warmup: int = 5
    amp: bool = False
    options: Mapping | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        numbers = dict(iterations=self.iterations)
        if self.size is not None:
            numbers['width'], numbers['height'] = self.size
        if self.batch_size is not None:
            numbers['batch_size'] = self.batch_size
        wrong = {name: value for name, value in numbers.items() if value < 1}
        wrong |= {'warmup': self.warmup} if self.warmup < 0 else {}
        if wrong:
            raise ValueError(f'speed of a config: too small: {wrong}')


def synthetic_data(config: Config, phase: str, settings: Settings) -> dict:
    """Choose the images to measure a model with.

    Args:
        config: Of the model.
        phase: ``'train'`` or ``'test'``.
        settings: What to measure.

    Returns:
        Config of their dataset.

    Raises:
        ValueError: If the model is neither segmentor nor detector, or nothing says how large its
            images are.
    """
    model, size = config.get('model', {}), settings.size
    class_counts = [_part(model, name) for name in (_SEGMENTOR, *_DETECTORS)]
    classes = next((number for number in class_counts if number is not None), None)
    if classes is None or 'backbone' not in model:
        names = ', '.join(f'model.{name}' for name in (_SEGMENTOR, *_DETECTORS))
        raise ValueError(
            f'{settings.config} is neither segmentor nor detector: '
            f'it has no model.backbone, or none of {names}'
        )
    is_segmentor = class_counts[0] is not None
    if is_segmentor and phase == 'test':
        size = size or (2048, 1024)
    elif is_segmentor:
        size = _part(model, 'data_preprocessor.size')
        if size is None:
            raise ValueError(f'{settings.config} has no model.data_preprocessor.size to train in')
        size = size[::-1]
    else:
        size = size or _detector_size(config)
        if size is None:
            raise ValueError(
                f'{settings.config} does not say how large its images are: it has neither '
                'a Pad with a size in train_pipeline nor model.backbone.img_size; '
                'give --size WIDTH HEIGHT'
            )
    import_module('noise_images' if is_segmentor else 'noise_boxes')  # which registers it
    return dict(
        type='SyntheticDataset' if is_segmentor else 'SyntheticBoxDataset',
        size=tuple(size),
        num_classes=classes,
    )


def _detector_size(config: Config) -> tuple[int, int] | None:
    """Width and height of the images that a detector trains with, None if nothing says it."""
    sizes = [step.get('size') for step in config.get('train_pipeline', []) if step.type == 'Pad']
    if sizes and sizes[-1]:
        return tuple(sizes[-1])
    size = config.model.backbone.get('img_size')
    return (size, size) if isinstance(size, int) else size and tuple(size[::-1])


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


def run_phase(phase: str, settings: Settings) -> dict:
    """Measure one phase in this process, whose peak of memory is then the phase's.

    Args:
        phase: ``'train'`` or ``'test'``.
        settings: What to measure.

    Returns:
        Plain data.

    Raises:
        ValueError: If the config does not fit.
    """
    config = load_config(settings.config, settings.options)
    config.log_level = 'ERROR'
    with trust_files(settings.trust):
        measured = {'train': _train, 'test': _test}[phase](config, settings)
    durations = measured.pop('durations')[settings.warmup :]
    median = statistics.median(durations)
    gpu = torch.cuda.is_available()
    # In kilobytes on Linux, in bytes on macOS. It starts at that of the parent, which only imports.
    unit = 1 if sys.platform == 'darwin' else 1024
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {
        **measured,
        'warmup': settings.warmup,
        'iterations': settings.iterations,
        'images_per_second': measured['batch_size'] / median,
        'seconds_per_iteration': dict(median=median, min=min(durations), max=max(durations)),
        'peak_memory_mb': (torch.cuda.max_memory_allocated() if gpu else process) / 1e6,
        'memory_of': 'GPU' if gpu else 'process',
    }


def _train(config: Config, settings: Settings) -> dict:
    """Train with the config's own runner, hooks and optimizer, on synthetic images."""
    data = synthetic_data(config, 'train', settings)
    if not (settings.batch_size or config.get('train_dataloader')):
        raise InputError('train_dataloader: the config has none; say the --batch-size')
    batch_size = settings.batch_size or config.train_dataloader.batch_size
    weights = _start(config, settings.checkpoint)
    if settings.amp:
        use_amp(config)
    config.train_dataloader = dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=data,
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
    mixed = {
        'AmpOptimWrapper': wrapper.get('dtype', 'float16'),
        'BFloat16OptimWrapper': 'bfloat16',
    }
    plain = 'float32, backbone bfloat16' if halved else 'float32'
    precision = mixed.get(wrapper.get('type'), plain)
    return {
        'size': [*data['size']],
        'batch_size': batch_size,
        'precision': precision,
        'weights': weights,
        'durations': timer.durations,
    }


def _test(config: Config, settings: Settings) -> dict:
    """Predict with the plain model, as ``tools/test.py`` does, on synthetic images."""
    data = synthetic_data(config, 'test', settings)
    batch_size = settings.batch_size or config.test_dataloader.batch_size
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    dtype = amp_dtype()
    left_out = use_plain_model(config)
    model = build_model(config)
    if settings.checkpoint is not None:
        load_plain(model, settings.checkpoint, left_out=left_out)
    model = model.to(device)
    dataset = DATASETS.build(dict(data, length=batch_size))
    durations = []
    with torch.no_grad(), torch.autocast(device, getattr(torch, dtype), enabled=settings.amp):
        for _ in range(settings.warmup + settings.iterations):
            start = _now()
            samples = [dataset[index] for index in range(batch_size)]
            model.test_step({key: [s[key] for s in samples] for key in samples[0]})
            durations.append(_now() - start)
    return {
        'size': [*data['size']],
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
    backbone = backbone.get('backbone', backbone)  # that AdaptedBackbone adapts
    file = pretrained_file(backbone.get('init_cfg'))
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
