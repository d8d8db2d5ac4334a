"""Gives jobs to a cluster, through submitit."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.files import InputError
from .jobs import Job, Running, Start, start_here

if TYPE_CHECKING:
    import submitit


def start_from(args: argparse.Namespace) -> Start:
    """How jobs start, by the arguments of :func:`~.cli.add_cluster`.

    Raises:
        InputError: If there is no such cluster, or a parameter is wrong.
    """
    parameters = args.slurm or {}
    if args.cluster == 'slurm' and not isinstance(parameters.get('time'), int):
        raise InputError(f'--slurm needs time=MINUTES, got {parameters.get("time")!r}')
    if parameters and args.cluster != 'slurm':
        raise InputError('--slurm is for --cluster slurm')
    if several := [k for k in ('nodes', 'ntasks_per_node') if parameters.get(k, 1) != 1]:
        raise InputError(f'--slurm {several[0]}: a run is one process')
    return _Cluster(args.cluster, parameters) if args.cluster else start_here


def workers_from(args: argparse.Namespace, here: int) -> int:
    """How many jobs run at a time: ``--jobs``, else all on Slurm, and ``here`` on this machine."""
    if args.jobs is not None:
        return args.jobs
    return 10**6 if args.cluster == 'slurm' else here


class _Cluster:
    """Gives jobs to Slurm; ``local``: to processes of this machine, ``debug``: to this process."""

    def __init__(self, name: str, parameters: Mapping) -> None:
        self._name = name
        self._parameters = {f'slurm_{key}': value for key, value in parameters.items()}
        try:
            self._executor(Path())
        except (ImportError, NameError, RuntimeError) as error:  # unknown parameters, no srun
            hint = "; pip install -e '.[cluster]'" if isinstance(error, ImportError) else ''
            raise InputError(f'--cluster {name}: {error}{hint}') from error

    def _executor(self, folder: Path) -> submitit.Executor:
        import submitit

        executor = submitit.AutoExecutor(folder, cluster=self._name, slurm_max_num_timeout=1000)
        executor.update_parameters(timeout_min=10**6, **self._parameters)
        return executor

    def __call__(self, job: Job, options: Mapping) -> Running:
        """Start a job, unless this cluster has it from an earlier process, which it outlives."""
        import submitit

        kind = submitit.SlurmJob if self._name == 'slurm' else submitit.LocalJob
        folder = job.log.absolute().with_suffix(f'.{self._name}-{job.key[:16]}.queue')
        for file in folder.parent.glob(f'{job.log.stem}.{self._name}-*.queue/*_submitted.pkl'):
            earlier = _Submitted(job, kind(file.parent, file.name.partition('_')[0]))
            if not earlier.poll() and file.parent == folder:  # it goes on, or has succeeded
                return earlier
        job.clear()
        environment = options.get('env') or os.environ
        changes = {n: v for n, v in environment.items() if os.environ.get(n) != v}
        if self._name == 'local':  # where submitit hides the GPUs
            changes['CUDA_VISIBLE_DEVICES'] = environment.get('CUDA_VISIBLE_DEVICES')
        commands = _Commands(job, {'cwd': Path.cwd(), **options}, changes)
        try:
            return _Submitted(job, self._executor(folder).submit(commands))
        except RuntimeError as error:  # of sbatch
            raise InputError(f'{job.name} cannot be submitted: {error}') from error


class _Submitted(Running):
    """A job that a cluster has; until it ends its seconds are those that it was waited for."""

    def __init__(self, job: Job, handle: submitit.Job) -> None:
        self.job, self._handle, self.start, self.peak_mb = job, handle, time.monotonic(), 0.0
        self._status, self._next = None, 0.0

    def poll(self) -> int | None:
        """The exit status if it has ended: 1, with a line in its log, if the cluster ended it."""
        if self._status is not None or time.monotonic() < self._next or not self._has_ended():
            return self._status
        if error := self._handle.exception():
            self._status = 1
            with open(self.job.log, 'a') as log:
                log.write(f'{error}\n')
        else:
            self._status, seconds, self.peak_mb = self._handle.result()
            self.start = time.monotonic() - seconds
        shutil.rmtree(self._handle.paths.folder, ignore_errors=True)
        return self._status

    def _has_ended(self) -> bool:
        process = getattr(self._handle, '_process', self)  # None if it is of an earlier start
        self._next = time.monotonic() + (5 if process is self else 0)  # Slurm is not asked often
        if process is None and not self._handle.paths.result_pickle.exists():
            with suppress(OSError):
                command = Path(f'/proc/{self._handle.job_id}/cmdline').read_bytes()
                return b'submitit' not in command
        return self._handle.done()

    def kill(self) -> None:
        """Leave it to the cluster."""


@dataclass
class _Commands:
    """The commands of a job, as the cluster calls them, with changed variables (None: without)."""

    job: Job
    options: Mapping
    changes: Mapping[str, str | None]

    def __call__(self) -> tuple[int, float, float]:
        """Run them; the exit status, seconds, and the largest memory in MB."""
        environment = {**os.environ, **self.changes}
        environment = {name: v for name, v in environment.items() if v is not None}
        self.running = Running(self.job, {**self.options, 'env': environment})
        try:
            while (status := self.running.poll()) is None:
                time.sleep(0.2)
        finally:
            self.running.kill()
        return status, self.running.seconds, self.running.peak_mb

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Let the command save; submitit asks for it before the time is over, then queues again."""
        import submitit

        pid, deadline = self.running.process.pid, time.monotonic() + 60  # of submitit's 90
        with suppress(OSError):  # it has ended
            os.kill(pid, signal.SIGUSR1)
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT  # since this interrupts a wait for it
            while time.monotonic() < deadline and not os.waitid(os.P_PID, pid, options):
                time.sleep(0.1)
        return submitit.helpers.DelayedSubmission(replace(self))
