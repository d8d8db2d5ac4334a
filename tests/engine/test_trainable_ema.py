import pytest
import torch

from soma.io.checkpoint_files import CheckpointError, read_checkpoint, write_checkpoint

EMA = dict(momentum=0.3)


def hooks(kind, **options):
    return {'custom_hooks': [dict(type=kind, **{**EMA, **options})]}


def trained(state):
    """The entries that the adapter and the head have, of a state dict."""
    return {k: v for k, v in state.items() if k.endswith(('.A', '.B')) or 'decode_head' in k}


def differing(actual, expected):
    assert actual.keys() <= expected.keys() and actual
    return [name for name in actual if not torch.equal(actual[name], expected[name])]


@pytest.fixture
def run(tiny_config, build_runner, tmp_path):
    """Train with a hook; the last checkpoint, and the metrics of the validations."""

    def train(name, options, **more):
        metrics = []
        options = {**options, 'work_dir': str(tmp_path / name), 'train_cfg.val_interval': 2, **more}
        options['default_hooks.checkpoint.interval'] = 2
        seen = metrics.append
        runner = build_runner(
            tiny_config, options, after_val_epoch=lambda runner, metrics: seen(dict(metrics))
        )
        runner.train()
        return read_checkpoint(tmp_path / name / 'iter_4.pth'), metrics

    return train


@pytest.mark.parametrize(
    'options',
    [
        {},
        *(pytest.param(o, marks=pytest.mark.slow) for o in (dict(begin_iter=2), dict(interval=2))),
    ],
)
def test_it_is_mmengines_average_of_what_trains(run, options):
    expected, metrics = run('theirs', hooks('EMAHook', **options))
    actual, own_metrics = run('ours', hooks('TrainableEMAHook', **options))
    assert not differing(actual['state_dict'], expected['state_dict'])
    assert not differing(actual['ema_state_dict'], expected['ema_state_dict'])
    assert own_metrics == metrics and len(metrics) == 2
    optimizers = {k.removeprefix('module.'): v for k, v in actual['ema_state_dict'].items()}
    names = trained(actual['state_dict'])
    assert set(differing(names, optimizers)) == names.keys()
    # nothing is in it but what trains
    frozen = actual['state_dict'].keys() - optimizers.keys()
    assert 'backbone.blocks.2.attn.qkv.weight' in frozen
    assert 'backbone.blocks.2.attn.qkv.A0' in frozen


@pytest.mark.parametrize('first', ['EMAHook', 'TrainableEMAHook'])
def test_training_resumes_from_the_files_of_either_hook(run, first, tmp_path):
    whole, metrics = run('whole', hooks(first))
    options = {'load_from': str(tmp_path / 'whole' / 'iter_2.pth'), 'resume': True}
    rest, rest_metrics = run('rest', hooks('TrainableEMAHook'), **options)
    for part in ('state_dict', 'ema_state_dict'):
        assert not differing(rest[part], whole[part])
    assert rest_metrics == metrics  # that of iter_2.pth too, which does not know of it


def test_an_average_that_starts_late(run, tmp_path):
    run('first', {})
    options = {'load_from': str(tmp_path / 'first' / 'iter_2.pth')}
    for resume in (False, True):
        late, _ = run(f'late{resume}', hooks('TrainableEMAHook'), **options, resume=resume)
        assert int(late['ema_state_dict']['steps']) == (2 if resume else 4)


def test_a_test_uses_the_average_and_changes_nothing(run, tiny_config, build_runner, tmp_path):
    _, metrics = run('first', hooks('TrainableEMAHook'))
    options = {'load_from': str(tmp_path / 'first' / 'iter_4.pth'), **hooks('TrainableEMAHook')}
    assert build_runner(tiny_config, options).test() == metrics[-1]


def test_the_average_of_another_model_is_refused(run, tmp_path):
    first, _ = run('first', hooks('TrainableEMAHook'))
    del first['ema_state_dict']['module.backbone.blocks.2.attn.qkv.A']
    write_checkpoint(first, tmp_path / 'bad.pth')
    with pytest.raises(CheckpointError, match=r'lacks.*blocks\.2\.attn\.qkv\.A'):
        run('rest', hooks('TrainableEMAHook'), load_from=str(tmp_path / 'bad.pth'), resume=True)


@pytest.mark.parametrize('bad', [dict(momentum=0), dict(begin_iter=-1), dict(interval=0)])
def test_bad_arguments_are_refused(tiny_config, build_runner, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        build_runner(tiny_config, hooks('TrainableEMAHook', **bad))
