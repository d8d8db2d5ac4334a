"""What the demos run and show."""

import json

import pytest

from soma.utils.config import REPOSITORY
from soma.utils.jobs import Usage
from soma_demo import DEMOS, run_demo
from soma_demo import run as package
from soma_demo.run import read_metrics, summary_table


@pytest.mark.parametrize('task', DEMOS)
def test_jobs_name_scripts_and_configs_that_exist_and_come_after_what_they_need(task, tmp_path):
    demo = DEMOS[task]
    for jobs in (demo.preparation(tmp_path), demo.training(tmp_path)):
        done = set()
        for job in jobs:
            assert set(job.needs) <= done and job.kind in demo.seconds
            done.add(job.name)
            ((_, script, *_),) = job.commands
            assert script.startswith(str(REPOSITORY)) and script.endswith('.py')
            assert (REPOSITORY / script).is_file()
    assert all(file.exists() for file in demo.configs.values())


@pytest.mark.parametrize('score', ['IoU', 'AP'])
def test_demo_reads_the_newest_metrics_and_makes_a_table(score, tmp_path):
    write_metrics(tmp_path, f'm{score}', 20.001)
    row = read_metrics(tmp_path)
    assert row == {'fog': 20.0, 'mean': 20.0}
    table = summary_table({'soma': row, 'full': {'fog': 10.0, 'mean': 10.0}}, 'title')
    assert [c.header for c in table.columns] == ['method', 'fog', 'mean'] and table.row_count == 2


def write_metrics(folder, key, value):
    (folder / '1').mkdir(parents=True)
    content = {'domains': {'fog': {key: value, 'x': 60.0}}, 'mean': {key: 20.0}, 'score': key[1:]}
    (folder / '1' / 'domains_test.json').write_text(json.dumps(content))


def test_a_table_stands_after_each_test(tmp_path, monkeypatch):
    tables, drawn = [], []

    def run_jobs(jobs, workers, finish, durations, **options):
        for job in jobs:
            if job.kind == 'test':
                write_metrics(tmp_path / job.name.split(': ')[1] / 'test', 'mIoU', 10 * len(drawn))
            shown = finish(job, Usage(3.4, 1.0))
            if job.kind == 'test':
                tables.append(shown.row_count)
            else:
                assert shown == '3 s'
        return {}

    monkeypatch.setattr(package, 'run_jobs', run_jobs)
    monkeypatch.setattr(package, 'write_panels', lambda models, *_: drawn.extend(models))
    summary = run_demo(DEMOS['segmentation'], tmp_path)
    assert tables == [1, 2, 3] and drawn == list(summary) == ['soma', 'frozen', 'full']
    assert json.loads((tmp_path / 'summary.json').read_text()) == summary


def test_what_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(package, 'run_jobs', lambda jobs, *_, **__: {jobs[0].name: 'no disk'})
    with pytest.raises(RuntimeError, match='Make toy streets: no disk'):
        run_demo(DEMOS['detection'], tmp_path)
    assert not (tmp_path / 'summary.json').exists()
