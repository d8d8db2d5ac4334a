"""A sweep: of trainings that are made up, and once of tiny ones."""

import json
import logging
from types import SimpleNamespace

import pytest
from mmengine.config import DictAction

from soma.engine.hooks import PruneHook

optuna = pytest.importorskip('optuna')
LR, RANK = 'optim_wrapper.optimizer.lr', 'model.backbone.adapter.rank'


class Training:
    """In the place of a training: two validations, whose score is ten times the rank and the rate.

    It fails where the rank is 9, and the user interrupts it where it is 7, but for the second time.
    """

    seconds, peak_mb = 1.0, 1.0

    def __init__(self, job):
        self.job, self.again = job, job.log.exists()

    def poll(self):
        self.job.log.parent.mkdir(exist_ok=True)
        (command,) = self.job.commands
        place = command.index('--work-dir')
        assert command[place:] == ['--work-dir', str(self.job.log.parent), '--resume']
        texts = [text.split('=', 1) for text in command[command.index('--cfg-options') + 1 : place]]
        self.options = {key: DictAction._parse_iterable(value) for key, value in texts}
        rank, rate = self.options.get(RANK, 0), self.options[LR]
        self.job.log.write_text('details\nerror: of rank 9\n')
        if rank == 7 and not self.again:
            raise KeyboardInterrupt
        if rank == 9 and not self.again:
            return 1
        assert self.options['default_hooks.prune.type'] == 'PruneHook'
        names = ('score', 'after')
        hook = PruneHook(*(self.options[f'default_hooks.prune.{name}'] for name in names))
        loop = SimpleNamespace(stop_training=False)
        place = dict(work_dir=str(self.job.log.parent), logger=logging.getLogger(), max_iters=4)
        for iteration in (2, 4):
            if not loop.stop_training:
                runner = SimpleNamespace(iter=iteration, train_loop=loop, **place)
                score = round(10 * rank + rate - 4 + iteration, 6)
                hook.after_val_epoch(runner, {'mean_mIoU': score})
        return 0

    def kill(self):
        pass


@pytest.fixture
def sweep(config_file, run_here, monkeypatch, capsys, tmp_path):
    """Run tools/sweep.py; its exit code or message, what was trained, rows of the table."""
    monkeypatch.setattr('signal.signal', lambda *_: None)
    ran = []

    def start(job, options):
        ran.append(Training(job))
        return ran[-1]

    monkeypatch.setattr('soma.utils.cluster.start_from', lambda args: start)

    def run(*params, options=('--score', 'mean_mIoU', '--prune-after', '2')):
        ran.clear()
        with pytest.raises(SystemExit) as end:
            run_here('sweep.py', config_file, '--param', *params, *options, '--work-dir', 'sweep')
        file = tmp_path / 'elsewhere/sweep/sweep.json'
        rows = json.loads(file.read_text())['trials'] if file.exists() else []
        return end.value.code, [training.job.name for training in ran], rows

    run.ran = ran
    return run


def test_a_grid_is_trained_and_the_best_is_first(sweep, tmp_path):
    code, names, rows = sweep(f'{LR}=3e-1,1e-1', f'{RANK}=2,3,9,1')
    assert code == 1 and names == [f'trial_{i}' for i in range(8)]
    short = [(r['trial'], r['score'], r['iteration'], r['end']) for r in rows]
    assert short[:4] == [
        ('trial_1', 30.3, 4, 'done'),
        ('trial_5', 30.1, 4, 'done'),
        ('trial_0', 20.3, 4, 'done'),
        ('trial_4', 18.1, 2, 'stopped early'),
    ]
    assert short[4:6] == [
        ('trial_3', 8.3, 2, 'stopped early'),
        ('trial_7', 8.1, 2, 'stopped early'),
    ]
    assert short[6:] == [(f'trial_{i}', None, 0, 'error: of rank 9') for i in (2, 6)]
    assert rows[0]['options'] == [f'{LR}=0.3', f'{RANK}=3']
    assert rows[0]['scores'] == {'2': 28.3, '4': 30.3}
    lines = (tmp_path / 'elsewhere/sweep/sweep.md').read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == ['trial', LR, RANK, 'mean_mIoU', 'iteration', 'end']
    assert cells[2] == ['trial_1', '0.3', '3', '30.30', '4', 'done'] and len(cells) == 10

    # What has failed is trained again, in its folder, and what is new.
    code, names, rows = sweep(f'{LR}=3e-1,1e-1', f'{RANK}=2,3,9,1,8')
    assert code == 0 and names == ['trial_2', 'trial_6', 'trial_8', 'trial_9']
    assert [row['trial'] for row in rows[:3]] == ['trial_2', 'trial_6', 'trial_8']
    assert sweep(f'{RANK}=2,3', f'{LR}=3e-1,1e-1')[:2] == (0, [])


def test_what_was_interrupted_goes_on(sweep):
    assert sweep(f'{LR}=1e-1', f'{RANK}=2,7,8,9')[:2] == (130, ['trial_0', 'trial_1'])
    code, names, rows = sweep(f'{LR}=1e-1', f'{RANK}=2,7,8')
    assert code == 0 and names == ['trial_1', 'trial_2']
    assert [row['trial'] for row in rows] == ['trial_2', 'trial_1', 'trial_0']


def test_values_are_drawn_of_ranges_and_lists(sweep):
    options = ['--score', 'mean_mIoU', '--trials', '6', '--prune-after', '100']
    params = [f'{LR}=log:1e-4..1e-1', f'{RANK}=4..6', 'train_dataloader.batch_size=1,2']
    code, names, rows = sweep(*params, options=options)
    assert (code, len(names)) == (0, 6) and {row['end'] for row in rows} == {'done'}
    drawn = [training.options for training in sweep.ran]
    rates = sorted(each[LR] for each in drawn)
    assert 1e-4 <= rates[0] < 1e-2 < rates[-1] <= 1e-1 and len({*rates}) == 6
    assert {each[RANK] for each in drawn} <= {4, 5, 6}
    assert {each['train_dataloader.batch_size'] for each in drawn} == {1, 2}
    options[3] = '8'
    code, names, rows = sweep(*params, options=options)
    assert (code, names) == (0, ['trial_6', 'trial_7']) and len(rows) == 8
    assert not {training.options[LR] for training in sweep.ran} & {*rates}
    code, names, _ = sweep(f'{LR}=log:1e-3..1e-1', *params[1:], options=options)
    assert 'has a sweep of another config, score or range: name another' in code and not names


@pytest.mark.parametrize(
    ('params', 'options', 'message'),
    [
        ([f'{LR}=1..2'], ['--score', 's'], 'is a range: say with --trials'),
        ([f'{LR}=log:0..2'], ['--score', 's', '--trials', '3'], f'--param {LR}=log:0..2: '),
        ([f'{LR}=1,2'], [], 'has no save_best: name a --score'),
        (['optim_wraper.lr=1,2'], ['--score', 's'], "is it 'optim_wrapper'"),
        ([f'{LR}=1,2'], ['--score', 's', '--trials', '0'], '--trials must be at least 1'),
    ],
)
def test_wrong_arguments_are_refused(params, options, message, sweep):
    code, names, _ = sweep(*params, options=options)
    assert message in code and '\n' not in code and not names


def test_a_score_that_is_not_there_is_named_and_another_work_dir_left_alone(tmp_path):
    runner = SimpleNamespace(work_dir=str(tmp_path / 'trial_0'), iter=2)
    PruneHook('mIoU', 0).after_val_epoch(runner, {'mIoU': 1.0})
    with pytest.raises(ValueError, match='--score mIoU is none of mean_mIoU'):
        PruneHook('mIoU', 0).after_val_epoch(runner, {'mean_mIoU': 1.0})


@pytest.mark.slow
def test_tiny_trainings(config_file, run_tool, tmp_path):
    """The second is worse and stops after its first validation; the third does not start."""
    work = tmp_path / 'elsewhere/sweep'
    command = ['sweep.py', config_file, '--score', 'mean_mIoU', '--prune-after', '1']
    command += ['--work-dir', 'sweep', '--cluster', 'local', '--cfg-options']
    command += ['train_cfg.val_interval=2', 'default_hooks.checkpoint.type=AdapterCheckpointHook']
    with pytest.raises(AssertionError, match='trial_2'):
        run_tool(*command, '--param', f'{LR}=1e-2,0,-1')
    rows = json.loads((work / 'sweep.json').read_text())['trials']
    assert [row['end'] for row in rows[:2]] == ['done', 'stopped early']
    assert rows[2]['end'].endswith('optimizer.lr must be a number of at least 0, got -1')
    assert (work / 'trial_0/iter_4.pth').exists() and (work / 'trial_1/iter_2.pth').exists()
