"""The study of all methods on toy streets: its recipe, its data."""

import runpy
import sys

import pytest

from method_comparison import Comparison, read_recipe
from soma.utils.config import REPOSITORY, load_config
from toy_streets import study as package
from toy_streets.study import RECIPE, preparation

UNSEEN = ['citys', 'bdd', 'map', 'fog', 'night', 'rain', 'snow']


@pytest.fixture(scope='module')
def recipe():
    return read_recipe(RECIPE)


def test_every_method_has_a_config(recipe):
    configs = {path.name.split('_')[0] for path in RECIPE.parents[1].glob('*_semfpn_*.py')}
    assert {name for name, method in recipe.methods.items() if not method.average} == configs
    assert recipe.methods['revt'].average == ('full', 'full-pixmix', 'full-bilateral')
    assert (recipe.chosen, recipe.seeds, recipe.iterations) == (('gta', 'synthia'), (0, 1, 2), 350)
    text = recipe.introduction.format(spread='', methods='', iterations=350)
    assert text.startswith('# Who generalises on the toy streets') and '{' not in text


@pytest.mark.parametrize(('method', 'setting'), [('full-pixmix', 'synthia'), ('soma', 'urbansyn')])
def test_config_says_what_differs_from_the_method(recipe, method, setting, tmp_path):
    comparison = Comparison(recipe, tmp_path, (method,), (setting,), (5,), 70)
    (run,) = comparison.runs
    comparison.folder(run).mkdir(parents=True)
    comparison.config_file(run).write_text(comparison.config_text(run))
    config = load_config(comparison.config_file(run))
    alone = load_config(recipe.methods[method].config)
    data = config.train_dataloader.dataset
    assert (data.domain, data.indices, config.randomness.seed) == (setting, 300, 5)
    assert data.data_root.endswith(f'data/toy_study/{setting}')
    assert data.pipeline == alone.train_dataloader.dataset.pipeline
    tests = config.test_dataloader.dataset.datasets
    assert [part.domain for part in tests] == [*UNSEEN, setting]
    assert all('data/toy_study/' in part.data_root for part in tests)
    assert tests[-1].indices == -12 and 'indices' not in tests[0]
    assert config.val_evaluator.mean_over == config.test_evaluator.mean_over == UNSEEN
    ends = [(scheduler.begin, scheduler.end) for scheduler in config.param_scheduler]
    assert ends == [
        (scheduler.begin // 10, scheduler.end // 10) for scheduler in alone.param_scheduler
    ]
    assert config.train_cfg.max_iters == config.default_hooks.checkpoint.interval == 70
    assert config.model == alone.model and config.optim_wrapper == alone.optim_wrapper


def test_preparation_is_done_once(tmp_path, monkeypatch):
    monkeypatch.setattr(package, 'REPOSITORY', tmp_path)
    jobs = {job.name: job for job in preparation(tmp_path / 'logs', 2)}
    assert next(iter(jobs)) == 'toy streets' and jobs['labels of gta'].needs == ['toy streets']
    assert {'foundation model', 'fractals', 'labels of urbansyn'} <= jobs.keys()
    (tmp_path / 'data/toy_study/gta').mkdir(parents=True)
    (tmp_path / 'data/toy_study/gta/conversion.json').touch()
    left = {job.name for job in preparation(tmp_path / 'logs', 2)}
    assert jobs.keys() - left == {'labels of gta'}
    assert all((REPOSITORY / job.commands[0][1]).is_file() for job in jobs.values())


def test_the_script_hands_over_to_the_comparison(tmp_path, monkeypatch, capsys):
    script = str(REPOSITORY / 'projects/toy_streets/study.py')
    failures, handed = {'fractals': 'no disk'}, []
    monkeypatch.setattr('signal.signal', lambda *_: None)
    monkeypatch.setattr('soma.utils.jobs.run_jobs', lambda *_, **__: failures)
    monkeypatch.setattr('os.execv', lambda program, command: handed.append(command))
    options = ['--jobs', '3', '--work-dir', str(tmp_path), '--methods', 'soma', '--seeds', '4']
    monkeypatch.setattr(sys, 'argv', [script, *options])
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(script, run_name='__main__')
    assert 'fractals failed: no disk' in capsys.readouterr().out and not handed
    failures.clear()
    runpy.run_path(script, run_name='__main__')
    ((_, compare, recipe, *rest),) = handed
    assert (
        compare.endswith('compare.py') and recipe == str(RECIPE) and sorted(rest) == sorted(options)
    )
