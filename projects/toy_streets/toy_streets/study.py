"""The data of the study: toy streets, converted labels, fractals for PixMix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from soma.utils.config import REPOSITORY
from soma.utils.jobs import Job

PROJECT = Path(__file__).resolve().parents[1]
RECIPE = PROJECT / 'configs/study/recipe.py'
SOURCES = ('gta', 'synthia', 'urbansyn')
_DATA = 'data/toy_study'


def script(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a script, by its path in the repository."""
    return (sys.executable, str(PROJECT.parents[1] / name), *arguments)


def preparation(logs: Path, nproc: int) -> list[Job]:
    """The scripts that make what the study's configs read and have not run yet.

    Args:
        logs: Folder for what they print.
        nproc: Number of processes that render; the images do not depend on it.
    """
    jobs = []

    def add(name: str, command: Sequence[str], product: str = '', needs: Sequence[str] = ()):
        if not product or not (REPOSITORY / product).exists():
            jobs.append(Job(name, None, logs / f'{name.replace(" ", "_")}.txt', [command], needs))

    # 300 images of a source to train on, and 12 that the training does not see
    options = ('--images', '312', '--val-images', '12', '--nproc', str(nproc))
    make = 'projects/toy_streets/make_toy_streets.py'
    add('toy streets', script(make, _DATA, *options, '--sources', *SOURCES))
    for name in (*SOURCES, 'cityscapes', 'mapillary'):
        folder = f'{_DATA}/{name}'
        command = script(f'tools/convert_datasets/{name}.py', folder)
        add(f'labels of {name}', command, f'{folder}/conversion.json', ['toy streets'])
    files = (
        str(PROJECT / 'dinov2_toy14_pretrain.safetensors'),
        'checkpoints/dinov2_toy_converted.pth',
    )
    size = ('--height', '256', '--width', '256', '--patch-size', '16')
    add('foundation model', script('tools/convert_models/convert_dinov2.py', *files, *size))
    fractals, size = f'{_DATA}/fractals', ('--images', '200', '--size', '256')
    add('fractals', script('tools/make_fractals.py', fractals, *size, '--nproc', str(nproc)))
    return jobs
