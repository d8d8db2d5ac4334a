"""What only a GPU can tell, in eight minutes: tests, operators, speed and memory of the configs.

Without a GPU it runs what a CPU can, and says what was not run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import torch
from rich.console import Console
from rich.markdown import Markdown
from run import markdown

from soma.io.files import atomic_path, check_folder, write_json
from soma.utils.cli import command
from soma.utils.config import REPOSITORY
from soma.utils.machine import machine
from soma.utils.progress import track

# A head each: steps on the crops of training, tests on 2048 x 1024 (of boxes: their own size).
CONFIGS = (
    'soma/soma_dinov2-L_mask2former_gta2cbm_512x512.py',
    'eomt/soma_dinov2-L_eomt_gta2cbm_512x512.py',
    'soma/soma_dinov2-L_semfpn_gta2cbm_512x512.py',
    'det/soma_dinov2-L_dino-4scale_diverse-weather_1024x1024.py',
    'frozen/frozen_dinov2-L_mask2former_gta2cbm_512x512.py',
    'full/full_dinov2-L_mask2former_gta2cbm_512x512.py',
    'soma/soma_dinov2-L_mask2former_citys2acdc_1024x1024.py',
)
# What a CPU has time for: one step, and a test of one image.
SMALL = tuple(
    f'{folder}/soma_dinov2-S_{head}_camvid-day2dusk_364x476.py'
    for folder, head in (
        ('camvid', 'linear'),
        ('camvid', 'semfpn'),
        ('camvid', 'mask2former'),
        ('eomt', 'eomt'),
    )
)
NO_GPU = 'not run: no GPU'


class OutOfTimeError(Exception):
    """No time is left."""


class Check:
    """Runs scripts until the time is up.

    Args:
        minutes: How long all of them may take.
        folder: For their results.
    """

    def __init__(self, minutes: float, folder: Path) -> None:
        self.end, self.folder = time.monotonic() + 60 * minutes, folder

    def run(self, *arguments: str) -> None:
        """Run a Python script or module in the repository.

        Raises:
            OutOfTimeError: If the time is up, or was before.
            RuntimeError: With its last line, if it fails.
        """
        left = self.end - time.monotonic()
        try:
            if left <= 0:
                raise subprocess.TimeoutExpired(arguments, left)
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=REPOSITORY,
                timeout=left,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            raise OutOfTimeError('not run: out of time') from None
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or 'no output').splitlines()
            raise RuntimeError(f'failed: {lines[-1]}')

    def tests(self) -> list[dict]:
        """The tests of the operators that need CUDA."""
        if not torch.cuda.is_available():
            return [{'test': 'tests/ops on CUDA', 'not_run': NO_GPU}]
        report = self.folder / 'tests.xml'
        report.unlink(missing_ok=True)  # of an earlier check
        options = ('-q', '-k', 'cuda', '-p', 'no:cacheprovider', f'--junitxml={report}')
        try:
            self.run('-m', 'pytest', 'tests/ops', *options)
        except RuntimeError:  # a test failed: it is in the report
            if not report.exists():
                raise
        suite = ElementTree.parse(report).getroot().find('testsuite')
        skipped = int(suite.get('skipped'))
        row = {'test': 'tests/ops on CUDA', 'run': int(suite.get('tests')) - skipped}
        failed = [
            case.get('name')
            for case in suite.iter('testcase')
            if case.find('failure') is not None or case.find('error') is not None
        ]
        return [{**row, 'skipped': skipped, 'failed': ' '.join(failed) or 'none'}]

    def operators(self) -> list[dict]:
        """Our operators against mmcv's compiled ones."""
        rows = self.folder / 'operators.json'
        self.run('benchmarks/operators.py', '--json', str(rows))
        return json.loads(rows.read_text())['rows'] or [
            {'operator': 'all', 'not_run': 'not run: mmcv has no compiled operators'}
        ]

    def config(self, name: str, options: Sequence[str] = ()) -> list[dict]:
        """Training steps and tests of a config, with random weights, in mixed precision."""
        speed = self.folder / f'{Path(name).stem}.json'
        arguments = (str(REPOSITORY / 'configs' / name), '--amp', '--out', str(speed), *options)
        self.run('tools/analysis_tools/benchmark.py', *arguments)
        rows = []
        for phase, values in json.loads(speed.read_text())['phases'].items():
            rows.append(
                {
                    'config': Path(name).stem,
                    'phase': phase,
                    'images': 'x'.join(map(str, values['size'])),
                    'batch': values['batch_size'],
                    'precision': values['precision'],
                    'images_per_second': round(values['images_per_second'], 2),
                    'seconds': round(values['seconds_per_iteration']['median'], 4),
                    'peak_mb': round(values['peak_memory_mb']),
                    'of': values['memory_of'],
                }
            )
        return rows


def run_all(check: Check, gpu: bool) -> dict[str, list[dict]]:
    """The rows of all parts; one that fails, or finds no time left, has a row that says so."""
    options = ('--iters', '10', '--warmup', '3')
    if not gpu:
        one = ('--batch-size', '1', '--size', '476', '364')
        options = ('--iters', '1', '--warmup', '0', *one)
    parts: list[tuple[str, str, Callable[[], list[dict]]]] = [
        ('tests', 'tests', check.tests),
        ('operators', 'operator', check.operators),
        *(
            ('configs', name, partial(check.config, name, options))
            for name in (CONFIGS if gpu else SMALL)
        ),
    ]
    rows: dict[str, list[dict]] = {}
    for part, name, measure in track(parts, len(parts), 'checking'):
        try:
            measured = measure()
        except (OutOfTimeError, RuntimeError) as error:
            measured = [{part.removesuffix('s'): Path(name).stem, 'not_run': str(error)}]
        rows.setdefault(part, []).extend(measured)
    if not gpu:
        rows['configs'] += [{'config': Path(name).stem, 'not_run': NO_GPU} for name in CONFIGS]
    return rows


def as_document(rows: dict[str, list[dict]], minutes: float) -> str:
    """The tables, for docs/benchmarks.md."""
    facts = ', '.join(f'{key}: {value}' for key, value in machine().items() if value)
    parts = [f'`make gpu-check`, {date.today()}, {minutes:.1f} minutes. {facts}.']
    for table in rows.values():
        keys = list(dict.fromkeys(key for row in table for key in row))
        parts.append(markdown(keys, ([row.get(key, '') for key in keys] for row in table)))
    return '\n\n'.join([*parts, ''])


def has_failed(row: dict) -> bool:
    """Whether a part, or a test in it, has failed."""
    return row.get('not_run', '').startswith('failed') or row.get('failed', 'none') != 'none'


def main() -> int:
    """Check, print the tables, write them and a JSON; returns 1 if something has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=8, help='time for all (default: 8)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'), help='folder')
    args = parser.parse_args()
    with command(False, ValueError):
        check_folder(args.out)
        start, gpu = time.monotonic(), torch.cuda.is_available()
        rows = run_all(Check(args.minutes, args.out.resolve()), gpu)
        text = as_document(rows, (time.monotonic() - start) / 60)
        write_json({'environment': machine(), **rows}, args.out / 'gpu_check.json')
        with atomic_path(args.out / 'gpu_check.md') as temporary:
            temporary.write_text(text)
    Console().print(Markdown(text))
    print(f'{args.out / "gpu_check.md"}, {args.out / "gpu_check.json"}')
    return int(any(map(has_failed, itertools.chain.from_iterable(rows.values()))))


if __name__ == '__main__':
    sys.exit(main())
