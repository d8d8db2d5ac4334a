"""The speed of a config: images a second and memory in training and testing, without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.table import Table
from speed_phases import Settings, run_phase, synthetic_data

from soma.utils.config import load_config
from soma.utils.machine import machine
from soma.utils.tables import as_text
from soma.utils.version import __version__


def measure_speed(settings: Settings, phases: Sequence[str] = ('train', 'test')) -> dict:
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
    for phase in phases:
        synthetic_data(config, phase, settings)
    measured = {}
    for phase in phases:
        with ProcessPoolExecutor(1, get_context('spawn')) as process:
            measured[phase] = process.submit(run_phase, phase, settings).result()
    return {
        'soma': __version__,
        'config': Path(settings.config).stem,
        'options': dict(settings.options or {}),
        'machine': machine(),
        'phases': measured,
    }


def speed_table(speed: Mapping) -> str:
    """Draw what :func:`measure_speed` returned."""
    machine = speed['machine']
    table = Table(title=f'{speed["config"]}, soma {speed["soma"]}')
    for name in ('phase', 'images', 'batch', 'precision', 'weights'):
        table.add_column(name)
    for name in ('images/s', 's/iteration', 'peak memory'):
        table.add_column(name, justify='right')
    for phase, values in speed['phases'].items():
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
