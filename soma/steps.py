"""Runs the scripts of ``tools/`` one after the other."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TimeElapsedColumn

from .utils.config import REPOSITORY


@dataclass(frozen=True)
class Step:
    """One script.

    Attributes:
        title: What it does.
        minutes: How long it takes on two cores.
        command: Script below ``tools/`` and its arguments.
        product: A file that shows that the step was done; None to run it always.
    """

    title: str
    minutes: float
    command: Sequence[str]
    product: str | None = None


def run_steps(steps: Sequence[Step], logs: Path) -> None:
    """Run scripts one after the other, with a progress bar over all of them.

    Args:
        steps: The scripts, run from the repository's root.
        logs: Folder for what each of them prints.

    Raises:
        RuntimeError: If a script fails.
    """
    logs.mkdir(parents=True, exist_ok=True)
    seconds = [60 * step.minutes for step in steps]
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as progress:
        task = progress.add_task('all steps', total=sum(seconds))
        for index, step in enumerate(steps):
            progress.console.print(
                f'{index + 1}/{len(steps)} {step.title} (about {step.minutes:g} min)'
            )
            log = logs / f'{index + 1:02d}_{Path(step.command[0]).stem}.log'
            if step.product is None or not (REPOSITORY / step.product).exists():
                for elapsed in _run(step.command, log):
                    done = sum(seconds[:index]) + min(elapsed, seconds[index])
                    progress.update(task, completed=done)
            progress.update(task, completed=sum(seconds[: index + 1]))


def _run(command: Sequence[str], log: Path) -> Iterator[float]:
    """Run a script below ``tools/``; yields the seconds since its start now and then."""
    command = [sys.executable, str(REPOSITORY / 'tools' / command[0]), *command[1:]]
    start = time.monotonic()
    with open(log, 'w') as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                yield time.monotonic() - start
                time.sleep(0.5)
        finally:
            process.kill()
    if process.returncode:
        tail = ''.join(log.read_text().splitlines(keepends=True)[-5:])
        raise RuntimeError(f'{shlex.join(command)} failed; the end of {log}:\n{tail}')
