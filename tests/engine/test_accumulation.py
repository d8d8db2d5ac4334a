import pytest
import torch

from soma.io.checkpoint_files import read_checkpoint


@pytest.fixture
def train(tiny_config, build_runner, tmp_path):
    """Train on eight images without dropout and with an average; the last checkpoint."""
    config = tiny_config
    config.optim_wrapper.optimizer = dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=1e-4)
    config.custom_hooks.append(dict(type='TrainableEMAHook', momentum=0.3))
    config.model.decode_head.dropout_ratio = 0.0
    config.default_hooks.checkpoint.type = 'AdapterCheckpointHook'
    config.train_cfg.val_interval = 100

    def run(name, batch, accumulated, interval=2, **options):
        iterations = 8 // batch
        config.param_scheduler = []
        options |= {
            'work_dir': str(tmp_path / name),
            'train_dataloader.batch_size': batch,
            'optim_wrapper.accumulative_counts': accumulated,
            'train_cfg.max_iters': iterations,
            'default_hooks.checkpoint.interval': interval,
        }
        runner = build_runner(config, options)
        runner.train()
        return read_checkpoint(tmp_path / name / f'iter_{iterations}.pth')

    return run


def differing(actual, expected, **tolerance):
    """Names of the tensors of a checkpoint that are not the other's."""
    assert actual.keys() == expected.keys()
    return [n for n in actual if not torch.allclose(actual[n], expected[n], **tolerance)]


def test_two_halves_of_a_batch_are_the_batch(train):
    whole, halves = train('whole', 4, 1), train('halves', 2, 2)
    plain = train('plain', 2, 1)
    for part in ('state_dict', 'ema_state_dict'):  # the average of two steps too
        assert not differing(halves[part], whole[part], rtol=1e-5, atol=1e-5)
        assert differing(plain[part], whole[part], rtol=1e-5, atol=1e-5)
    assert int(halves['ema_state_dict']['steps']) == 2


def test_a_resumed_run_is_exact(train, tmp_path):
    whole = train('whole', 2, 2)
    file = str(tmp_path / 'whole' / 'iter_2.pth')
    rest = train('rest', 2, 2, load_from=file, resume=True)
    for part in ('state_dict', 'ema_state_dict'):
        assert not differing(rest[part], whole[part], rtol=0, atol=0)


@pytest.mark.parametrize(('interval', 'warned'), [(3, True), (2, False)])
def test_checkpoints_that_lack_gradients_are_announced(train, capsys, interval, warned):
    train('run', 2, 2, interval)
    assert ('lack gradients' in capsys.readouterr().out) == warned
