"""A training that is told to stop: what it says, what it has saved, how it goes on."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import HOOKS

import soma.io.files
from soma.engine.hooks import StopHook
from soma.io.checkpoint_files import read_checkpoint


@HOOKS.register_module(force=True)
class SignalHook(Hook):
    """Send signals to this process, or to its workers, at a moment of the hooks."""

    def __init__(self, moment, signals, iteration, workers=False):
        self.signals, self.iteration, self.workers = signals, iteration, workers
        setattr(self, moment, self.send)

    def send(self, runner, *args, **kwargs):
        if runner.iter != self.iteration:
            return
        children = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()
        assert not self.workers or len(children) >= 2
        for process in map(int, children if self.workers else [os.getpid()]):
            for name in self.signals:
                os.kill(process, getattr(signal, name))


@pytest.fixture
def train(tiny_config, run_here, tmp_path, capfd):
    """Run tools/train.py; its exit code or message, and its last line."""
    tiny_config.custom_imports = dict(imports=['soma'])
    tiny_config.default_hooks.checkpoint = dict(
        type='AdapterCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=-1
    )
    tiny_config.train_cfg.val_interval = 4
    numbers = iter(range(9))

    def run(work_dir, *arguments, hook=None, **options):
        config = tiny_config.copy()
        config.merge_from_dict({name.replace('__', '.'): v for name, v in options.items()})
        config.work_dir = str(tmp_path / work_dir)
        config.experiment_name = f'{tmp_path.name}_{next(numbers)}'
        config.custom_hooks = [dict(type='SignalHook', **hook)] if hook else []
        config.dump(tmp_path / 'config.py')
        try:
            run_here('train.py', tmp_path / 'config.py', *arguments)
            code = None
        except SystemExit as error:
            code = error.code
        lines = capfd.readouterr().err.splitlines()
        return code, [line for line in lines if 'the last' in line or 'stop' in line]

    return run


@pytest.fixture
def files(tmp_path):
    return lambda name: sorted(path.name for path in (tmp_path / name).glob('[!c2]*'))


def same(tmp_path, *names):
    contents = [read_checkpoint(tmp_path / name / 'iter_4.pth') for name in names]
    first, second = ({**c['state_dict'], **c['optimizer']['state']} for c in contents)
    assert first.keys() == second.keys()
    assert all(torch.equal(v, second[n]) for n, v in first.items() if isinstance(v, torch.Tensor))


def test_sigusr1_saves_and_the_rest_ends_as_if_it_had_not_been(train, files, tmp_path):
    assert train('whole') == (None, [])
    hook = dict(moment='before_train_iter', signals=['SIGUSR1'], iteration=2)
    code, (line,) = train('work', hook=hook)
    assert code == 0
    work = tmp_path / 'work'
    assert line.startswith(f'stopped as asked after iteration 3; the last checkpoint is {work}/')
    assert line.endswith(f'/tools/train.py {tmp_path}/config.py --resume')
    assert '/iter_3.pth, go on with: python /' in line
    assert files('work') == ['iter_2.pth', 'iter_3.pth', 'last_checkpoint']
    assert train('work', '--resume') == (None, [])
    assert files('work') == files('whole') == ['iter_2.pth', 'iter_4.pth', 'last_checkpoint']
    same(tmp_path, 'work', 'whole')


def test_after_a_time_it_saves_and_ends(train, files):
    assert train('work', '--stop-after', '0.001s')[0] == 0
    assert files('work') == ['iter_1.pth', 'last_checkpoint']


@pytest.mark.parametrize('text', ['3x', 'h', '-1h', '0'])
def test_a_wrong_time_is_named(train, text):
    assert train('work', f'--stop-after={text}')[0] == 2


def test_it_stops_where_the_optimizer_has_made_a_step(train, files):
    hook = dict(moment='before_train_iter', signals=['SIGUSR1'], iteration=0)
    options = dict(optim_wrapper__accumulative_counts=2, default_hooks__checkpoint__interval=4)
    assert train('work', hook=hook, **options)[0] == 0
    assert files('work') == ['iter_2.pth', 'last_checkpoint']


def test_it_says_so_in_a_validation_that_was_missed(train):
    train('work', hook=dict(moment='after_val_iter', signals=['SIGUSR1'], iteration=4))
    hook = dict(moment='after_val_iter', signals=['SIGUSR1'], iteration=4)
    code, (line,) = train('work', '--resume', hook=hook)
    assert code == 0 and 'stopped as asked after iteration 4; ' in line


def test_several_optimizers_are_no_obstacle():
    """They have no common step to wait for."""
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = OptimWrapperDict(a=OptimWrapper(torch.optim.SGD([weight], lr=0.1)))
    place = dict(iter=0, epoch=0, rank=0, train_loop=None, work_dir=None)
    runner = SimpleNamespace(hooks=[], optim_wrapper=wrapper, **place)
    with StopHook('again') as hook:
        hook.before_run(runner)
        hook.after_train_iter(runner, 0)


def test_it_stops_in_a_validation_that_it_will_repeat(train, files, tmp_path):
    hook = dict(moment='after_val_iter', signals=['SIGUSR1'], iteration=4)
    code, (line,) = train('work', hook=hook)
    assert code == 0 and 'stopped as asked after iteration 4; ' in line
    assert not list((tmp_path / 'work').glob('*/vis_data/scalars.json')) or 'mIoU' not in ''.join(
        path.read_text() for path in (tmp_path / 'work').glob('*/vis_data/scalars.json')
    )
    assert train('work', '--resume') == (None, [])
    scores = [path.read_text() for path in (tmp_path / 'work').glob('*/vis_data/scalars.json')]
    assert ''.join(scores).count('mean_mIoU') == 1


@pytest.mark.parametrize(('name', 'code'), [('SIGINT', 130), ('SIGTERM', 143)])
@pytest.mark.parametrize('moment', ['before_train_iter', 'after_val_iter'])
def test_it_is_interrupted_with_one_line(train, files, tmp_path, name, code, moment):
    iteration = 2 if moment == 'before_train_iter' else 4
    got, (line,) = train('work', hook=dict(moment=moment, signals=[name], iteration=iteration))
    last = f'{tmp_path}/work/iter_{iteration}.pth'
    assert got == code
    assert line.startswith(f'stopped by {name}; the last checkpoint is {last}, go on with: python ')
    assert 'iter_3.pth' not in files('work')
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_checkpoint_that_is_being_written_is_finished_first(train, files, tmp_path):
    hook = dict(moment='before_save_checkpoint', signals=['SIGINT', 'SIGINT'], iteration=1)
    code, lines = train('work', hook=hook)
    assert code == 130
    assert lines[:2] == ['iter_2.pth is being written: the training stops after it'] * 2
    assert lines[2].startswith(f'stopped by SIGINT; the last checkpoint is {tmp_path}/work/iter_2.')
    assert files('work') == ['iter_2.pth', 'last_checkpoint']
    read_checkpoint(tmp_path / 'work' / 'iter_2.pth')


def test_an_interrupt_while_a_config_is_laid_out_is_no_syntax_error(train, monkeypatch):
    def lay_out(text, **options):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # in the script
            os.kill(os.getpid(), signal.SIGINT)
        return text, True

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lay_out)
    code, (line,) = train('work')
    assert (code, line) == (130, 'stopped by SIGINT; the training had not begun')


def test_a_set_goes_on_with_its_next_model(capsys):
    with pytest.raises(SystemExit, match='130'), StopHook('the command') as stop:
        stop.trained = 1
        os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err == (
        'stopped by SIGINT; the training had not begun; trained models of the set: 1, go on with: '
        'the command\n'
    )


def test_a_config_is_laid_out_once(tiny_config, build_runner, monkeypatch):
    tiny_config.default_hooks.checkpoint.update(type='AdapterCheckpointHook', interval=1)
    runner = build_runner(tiny_config)
    texts = []

    def lay_out(text, **options):
        texts.append(text)
        return text, True

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lay_out)
    runner.train()
    assert len(texts) == 1  # for four checkpoints


def test_workers_do_not_mind_a_signal(train, files):
    hook = dict(
        moment='before_train_iter', signals=['SIGUSR1', 'SIGINT'], iteration=1, workers=True
    )
    assert train('work', hook=hook, train_dataloader__num_workers=2) == (None, [])
    assert files('work') == ['iter_2.pth', 'iter_4.pth', 'last_checkpoint']


def test_a_full_disk_is_one_line_that_says_what_is_safe(train, files, tmp_path, monkeypatch):
    fsync = os.fsync

    def full(number):
        if 'iter_4' in os.readlink(f'/proc/self/fd/{number}'):
            raise OSError(28, 'No space left on device')
        fsync(number)

    monkeypatch.setattr(soma.io.files.os, 'fsync', full)
    work = tmp_path / 'work'
    (code, _) = train('work')
    assert code.startswith(f'error: {work}/iter_4.pth is not written (No space left on device); ')
    assert f'; the last checkpoint is {work}/iter_2.pth, go on with: python ' in code
    assert '\n' not in code and files('work') == ['iter_2.pth', 'last_checkpoint']


def test_what_cannot_be_saved_is_refused(tiny_config, build_runner):
    runner = build_runner(tiny_config)  # with mmengine's CheckpointHook
    runner.register_hook(StopHook('', after=60))
    with pytest.raises(ValueError, match='--stop-after needs default_hooks'):
        runner.train()
