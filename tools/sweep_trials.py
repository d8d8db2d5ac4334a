"""The trials of a sweep: which there are, how they train, and what comes out."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from soma.io.files import InputError, atomic_path, check_folder, write_json
from soma.utils.config import REPOSITORY, load_config
from soma.utils.jobs import Job, Start, Usage, run_jobs
from soma.utils.messages import printable
from soma.utils.tables import FALLING, as_text

try:
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState
except ImportError as error:
    message = f"a sweep needs optuna ({error}): pip install -e '.[cluster]'"
    raise InputError(message) from error

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_NUMBER = r'([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)'
_RANGE = re.compile(rf'(log:)?{_NUMBER}\.\.{_NUMBER}', re.IGNORECASE)
_ENDED = {TrialState.COMPLETE: 'done', TrialState.PRUNED: 'stopped early'}


@dataclass(frozen=True)
class Sweep:
    """Trainings of one config with several values of its keys.

    Attributes:
        work_dir: Has a folder for each, optuna's journal, and the table.
        space: Values by dotted key: a list of ``key=value``, or what they are drawn from.
        count: How many are drawn; None for each combination.
        score: What is compared.
        command: What all of them have in common.
        study: optuna's.
    """

    work_dir: Path
    space: Mapping[str, list[str] | BaseDistribution]
    count: int | None
    score: str
    command: Sequence[str]
    study: optuna.Study

    def run(self, jobs: int, start: Start) -> dict[str, str]:
        """Train what is not trained yet; why trials failed, by their names."""
        return run_jobs(self._jobs(), jobs, self._finish, {}, start, cwd=Path.cwd())

    def _jobs(self) -> Iterator[Job]:
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            if 'stopped' in trial.user_attrs:
                self.study.tell(trial.number, state=TrialState.PRUNED)
            elif 'options' in trial.user_attrs:
                yield self._job(trial.number, trial.user_attrs['options'])
            else:  # it died when it was drawn
                self.study.tell(trial.number, state=TrialState.FAIL)
        if self.count is None:
            yield from self._combinations()
            return
        states = (*_ENDED, TrialState.RUNNING)
        space = {k: v for k, v in self.space.items() if not isinstance(v, list)}
        space |= {k: CategoricalDistribution(v) for k, v in self.space.items() if k not in space}
        while len(self.study.get_trials(states=states)) < self.count:
            trial = self.study.ask(space)
            drawn = trial.params.items()
            options = [v if isinstance(self.space[k], list) else f'{k}={v!r}' for k, v in drawn]
            trial.set_user_attr('options', options)
            yield self._job(trial.number, options)

    def _combinations(self) -> Iterator[Job]:
        known = [{*trial.user_attrs.get('options', ())} for trial in self.study.trials]
        for options in map(list, product(*self.space.values())):
            if {*options} not in known:
                self.study.enqueue_trial({}, user_attrs={'options': options})
            while self.study.get_trials(states=(TrialState.WAITING,)):
                trial = self.study.ask()
                yield self._job(trial.number, trial.user_attrs['options'])

    def _job(self, number: int, options: list[str]) -> Job:
        folder = self.work_dir / f'trial_{number}'
        command = [*self.command, *options, '--work-dir', str(folder), '--resume']
        return Job(folder.name, None, folder / 'log.txt', [command])

    def _finish(self, job: Job, usage: Usage) -> str:
        number = int(job.name.removeprefix('trial_'))
        trial = self.study.trials[number]
        if not trial.intermediate_values:
            raise InputError(f'no validation has given {self.score}')
        step, value = max(trial.intermediate_values.items())
        if math.isnan(value):
            raise InputError(f'{self.score} is NaN')
        if 'stopped' in trial.user_attrs:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, value)
        self.write({})
        end = f', stopped early at iteration {step}' if 'stopped' in trial.user_attrs else ''
        return f'{" ".join(trial.user_attrs["options"])}: {self.score} {value:.2f}{end}'

    def write(self, failed: Mapping[str, str]) -> Table:
        """Write ``sweep.md`` and ``sweep.json``; the table.

        Args:
            failed: Why trials failed, by their names.
        """
        rows = sorted(
            filter(None, (self._row(t, failed) for t in self.study.trials)), key=self._order
        )
        table = Table(box=box.MARKDOWN)
        for name in ('trial', *self.space, self.score, 'iteration', 'end'):
            table.add_column(name, overflow='fold')
        for row in rows:
            score = '' if row['score'] is None else f'{row["score"]:.2f}'
            values = dict(option.split('=', 1) for option in row['options'])
            cells = [values.get(key, '') for key in self.space]
            table.add_row(row['trial'], *cells, score, str(row['iteration']), row['end'])
        write_json(dict(score=self.score, trials=rows), self.work_dir / 'sweep.json')
        with atomic_path(self.work_dir / 'sweep.md') as temporary:
            temporary.write_text(as_text(table, 1000).lstrip('\n') + '\n')
        return table

    def _row(self, trial: FrozenTrial, failed: Mapping[str, str]) -> dict[str, Any] | None:
        if 'options' not in trial.user_attrs:
            return None
        name, scores = f'trial_{trial.number}', trial.intermediate_values
        reason = failed.get(name, 'not finished').strip().splitlines()[-1]
        return dict(
            trial=name,
            options=trial.user_attrs['options'],
            score=scores[max(scores)] if scores else None,
            iteration=max(scores, default=0),
            end=_ENDED.get(trial.state, printable(reason)),
            scores=scores,
        )

    def _order(self, row: Mapping) -> tuple:
        """Those that are done first, of them the best."""
        ends, score = [*_ENDED.values()], row['score']
        place = ends.index(row['end']) if row['end'] in ends else len(ends)
        sign = 1 if _falls(self.score) else -1
        return place, score is None, sign * (score or 0)


def read_sweep(args: argparse.Namespace) -> Sweep:
    """Open the sweep that the arguments of ``tools/sweep.py`` ask for.

    Raises:
        InputError: If they do not fit the config, each other, or the sweep that is in the work dir.
    """
    space = {key: _values(key, value) for key, value in args.param.items()}
    drawn = [key for key, values in space.items() if not isinstance(values, list)]
    if drawn and args.trials is None:
        raise InputError(f'--param {drawn[0]} is a range: say with --trials how many to draw')
    if args.prune_after < 0 or (args.trials is not None and args.trials < 1):
        raise InputError('--trials must be at least 1, --prune-after at least 0')
    options = dict(args.cfg_options or {})
    config = load_config(args.config, options)
    load_config(args.config, {**options, **{key: _first(v) for key, v in args.param.items()}})
    score = args.score or config.get('default_hooks', {}).get('checkpoint', {}).get('save_best')
    if not isinstance(score, str) or score == 'auto':
        raise InputError(f'{args.config} has no save_best: name a --score')
    if not config.get('val_evaluator'):
        raise InputError(f'{args.config} has no val_evaluator: there would be nothing to compare')
    work_dir = args.work_dir or Path('work_dirs', f'{Path(args.config).stem}_sweep')
    check_folder(work_dir)
    command = [sys.executable, str(REPOSITORY / 'tools/train.py'), str(args.config)]
    command += [f'--{name}' for name in ('amp', 'trust') if getattr(args, name)]
    command += ['--cfg-options', *(_option(k, v) for k, v in options.items())]
    hook = dict(type='PruneHook', score=score, after=args.prune_after)
    command += [_option(f'default_hooks.prune.{key}', value) for key, value in hook.items()]
    config.pop('work_dir')
    settings = json.dumps([config.to_dict(), args.amp, score], default=str, sort_keys=True)
    facts = [hashlib.sha256(settings.encode()).hexdigest()]
    if args.trials is not None:  # what a sampler learns from must be of one space
        facts += [f'{key}={values}' for key, values in space.items()]
    study = _open(work_dir.resolve(), score, facts)
    return Sweep(work_dir.resolve(), space, args.trials, score, command, study)


def _open(work_dir: Path, score: str, facts: list[str]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(work_dir / 'sweep.journal'))),
        study_name='sweep',
        direction='minimize' if _falls(score) else 'maximize',
        load_if_exists=True,
    )
    if study.user_attrs.get('facts', facts) != facts:
        raise InputError(
            f'{work_dir} has a sweep of another config, score or range: name another --work-dir'
        )
    study.set_user_attr('facts', facts)
    # Of a seed, which is another one when it goes on: it would draw the same again.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
    return study


def _falls(score: str) -> bool:
    return score.rpartition('_')[2] in FALLING


def _values(key: str, value: Any) -> list[str] | BaseDistribution:
    """What a ``--param`` means: ``key=value`` of a list, or a range."""
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if not match:
        values = value if isinstance(value, list) else [value]
        return list(dict.fromkeys(_option(key, each) for each in values))
    log, *ends = match.groups()
    whole = all(re.fullmatch(r'[-+]?\d+', end) for end in ends)
    kind, number = (IntDistribution, int) if whole else (FloatDistribution, float)
    try:
        return kind(*map(number, ends), log=bool(log))
    except ValueError as error:
        raise InputError(f'--param {key}={value}: {error}') from error


def _first(value: Any) -> Any:
    """A value of a ``--param``, to see whether the config has the key."""
    if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
        return float(match[2])
    return value[0] if isinstance(value, list) and value else value


def _option(key: str, value: Any) -> str:
    return f'{key}={value if isinstance(value, str) else repr(value)}'
