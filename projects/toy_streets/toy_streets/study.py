"""The data of the study: toy streets, converted labels, fractals for PixMix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soma.utils.config import REPOSITORY
from soma.utils.jobs import Job

from .demo import PROJECT, convert_foundation_model, make_streets, script

RECIPE = PROJECT / 'configs/study/recipe.py'
SOURCES = ('gta', 'synthia', 'urbansyn')
_DATA = 'data/toy_study'


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
    options = ('--sources', *SOURCES)
    add('toy streets', make_streets(_DATA, 312, 12, nproc, *options))
    for name in (*SOURCES, 'cityscapes', 'mapillary'):
        folder = f'{_DATA}/{name}'
        command = script(f'tools/convert_datasets/{name}.py', folder)
        add(f'labels of {name}', command, f'{folder}/conversion.json', ['toy streets'])
    add('foundation model', convert_foundation_model())
    fractals, size = f'{_DATA}/fractals', ('--images', '200', '--size', '256')
    add('fractals', script('tools/make_fractals.py', fractals, *size, '--nproc', str(nproc)))
    return jobs
