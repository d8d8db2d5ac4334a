"""Runs commands side by side, in the order that they need one another."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Job:
    """Commands that run one after the other.

    Attributes:
        name: Names the job.
        kind: Jobs of one kind are expected to take the same time; None leaves it out of estimates.
        log: File for what the commands print.
        commands: Programs and their arguments.
        needs: Names of the jobs that must be done before.
        clean: Folder that is removed before it starts.
        key: Of all that its result depends on: a cluster's job of another key is not this one.
    """

    name: str
    kind: str | None
    log: Path
    commands: Sequence[Sequence[str]]
    needs: Sequence[str] = ()
    clean: Path | None = None
    key: str = ''

    def clear(self) -> None:
        """Remove what an earlier start has left; a ValueError if a cluster has the job from it."""
        for file in self.log.parent.glob(f'{self.log.stem}.*.queue/*_submitted.pkl'):
            raise ValueError(
                f'a cluster has {self.name}, perhaps with other settings: start with the same '
                f'--cluster, or end that job and remove {file.parent}'
            )
        if self.clean:
            shutil.rmtree(self.clean, ignore_errors=True)


class Usage(NamedTuple):
    """What a job took: seconds from start to end, and the largest memory of a command in MB."""

    seconds: float
    peak_mb: float


# Returns what to print of a job that is done, a text or a table.
Finish = Callable[[Job, Usage], RenderableType]


class Running:
    """A job whose commands run, one at a time, each as the leader of a process group."""

    def __init__(self, job: Job, options: Mapping) -> None:
        self.job, self.options, self.left = job, options, list(job.commands)
        self.start, self.peak_mb = time.monotonic(), 0.0
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b'')
        self._start_next()

    def _start_next(self) -> None:
        with open(self.job.log, 'ab') as log:
            self.process = subprocess.Popen(
                self.left.pop(0),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a signal to this process must not reach it twice
                **self.options,
            )

    @property
    def seconds(self) -> float:
        """Since it started."""
        return time.monotonic() - self.start

    def poll(self) -> int | None:
        """Start the next command if one has ended; the exit status if that was the last."""
        self.peak_mb = max(self.peak_mb, peak_memory(self.process.pid))
        status = self.process.poll()
        if status is None or status or not self.left:
            return status
        self._start_next()
        return None

    def kill(self) -> None:
        """End the command, with the workers of its own, if it still runs."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


# Starts a job with options of ``subprocess.Popen``; what it returns is like ``Running``.
Start = Callable[[Job, Mapping], Running]


def start_here(job: Job, options: Mapping) -> Running:
    """Start a job on this machine."""
    job.clear()
    return Running(job, options)


def run_jobs(
    jobs: Iterable[Job],
    workers: int,
    finish: Finish,
    durations: Mapping[str, Iterable],
    start: Start = start_here,
    **options: object,
) -> dict[str, str]:
    """Run jobs side by side, with a progress bar and an estimate of the time left.

    Args:
        jobs: Each after those that it needs. An iterator is asked for the next one when it can run.
        workers: How many run at a time.
        finish: Called in this process; what it raises counts as a failure of the job.
        durations: Seconds that earlier jobs have taken, or that jobs should take, by kind.
        start: Starts a job; :mod:`soma.utils.cluster` has one that gives it to a cluster.
        **options: Of ``subprocess.Popen``, such as ``cwd`` and ``env``.

    Returns:
        Why they failed, by the names of the jobs that did. The others have run, but for those that
        need one of these. However this function ends, no command goes on on this machine.

    Raises:
        ValueError: If no job may run at a time.
    """
    if workers < 1:
        raise ValueError(f'workers must be at least 1, got {workers}')
    later = iter(jobs)
    waiting, running, failed = [*later] if isinstance(jobs, Sequence) else [], [], {}
    count = len(waiting)
    known = defaultdict(list, {kind: list(seconds) for kind, seconds in durations.items()})
    names = TextColumn('{task.description}')
    with Progress(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), names) as progress:
        task = progress.add_task('', total=count or None)
        try:
            while True:
                if not waiting and len(running) < workers:
                    waiting = [*islice(later, 1)]
                    count += len(waiting)
                if not waiting and not running:
                    break
                pending = {job.name for job in waiting} | {run.job.name for run in running}
                for job in [job for job in waiting if not pending & set(job.needs)]:
                    if broken := [name for name in job.needs if name in failed]:
                        failed[job.name] = f'it needs {broken[0]}, which failed'
                    elif len(running) < workers:
                        running.append(start(job, options))
                    else:
                        continue
                    waiting.remove(job)
                for run in list(running):
                    if (status := run.poll()) is None:
                        continue
                    running.remove(run)
                    message = _finish(run, status, finish, failed)
                    if run.job.name not in failed:
                        known[run.job.kind].append(run.seconds)
                    progress.console.print(f'{run.job.name}:', message, highlight=False)
                now = [(run.job.kind, run.seconds) for run in running]
                left = seconds_left([job.kind for job in waiting], now, known, workers)
                text = f'about {left / 60:.0f} min left; ' if left else ''
                text += ', '.join(run.job.name for run in running)
                done = count - len(waiting) - len(running)
                progress.update(task, completed=done, description=text)
                time.sleep(0.2 if running else 0)
        finally:
            for run in running:
                run.kill()
    return failed


def _finish(run: Running, status: int, finish: Finish, failed: dict[str, str]) -> RenderableType:
    """What to print of a job that has ended; notes in ``failed`` why it failed if it did."""
    if status:
        lines = run.job.log.read_text(errors='replace').splitlines()
        reason = f'exit status {status}; the end of {run.job.log}:'
        failed[run.job.name] = '\n'.join([reason, *lines[-15:]])
        return f'failed with exit status {status}'
    try:
        return finish(run.job, Usage(run.seconds, run.peak_mb))
    except Exception as error:  # the other jobs must go on
        failed[run.job.name] = f'{type(error).__name__}: {error}; see {run.job.log}'
        return 'failed: its result cannot be read'


def interrupt_on_signals() -> None:
    """Let the end of a terminal or a polite kill end all in order, as Ctrl-C does."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is signal.SIG_DFL:
            signal.signal(name, signal.default_int_handler)


def peak_memory(pid: int) -> float:
    """The largest resident memory of a process so far in MB; 0 if it has ended, or not on Linux."""
    # The system's own account of a child (ru_maxrss) starts from the memory of its parent.
    try:
        status = Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return 0.0
    peak = re.search(r'^VmHWM:\s*(\d+) kB', status, re.M)
    return int(peak[1]) * 1024 / 1e6 if peak else 0.0


def seconds_left(
    waiting: Sequence[str | None],
    running: Sequence[tuple[str | None, float]],
    known: Mapping[str, Sequence[float]],
    workers: int,
) -> float | None:
    """Estimate how long jobs will still take.

    Args:
        waiting: Kinds of the jobs that have not started; None counts for nothing.
        running: Kind of each that has, and the seconds since.
        known: Seconds that jobs have taken, by kind; other kinds are taken for their mean.
        workers: How many run at a time.

    Returns:
        Seconds, or None where no job has ended yet.
    """
    means = {kind: sum(took) / len(took) for kind, took in known.items() if kind and took}
    if not means:
        return None
    usual = sum(means.values()) / len(means)
    means[None] = 0
    rest = [max(0, means.get(kind, usual) - seconds) for kind, seconds in running]
    work = sum(means.get(kind, usual) for kind in waiting) + sum(rest)
    return max([work / workers, *rest])
