"""A resumed run ends as one that was never interrupted, bit for bit."""

import torch

from soma.io.checkpoint_files import read_checkpoint


def assert_same(actual, expected, where=''):
    assert type(actual) is type(expected), where
    if isinstance(actual, dict):
        assert actual.keys() == expected.keys(), where
        for key in actual:
            assert_same(actual[key], expected[key], f'{where} {key}')
    elif isinstance(actual, list | tuple):
        assert len(actual) == len(expected), where
        for index, pair in enumerate(zip(actual, expected, strict=True)):
            assert_same(*pair, f'{where} {index}')
    elif isinstance(actual, torch.Tensor):
        assert torch.equal(actual, expected), where
    else:
        assert actual == expected, where


def test_a_run_by_epochs_resumes_as_if_never_interrupted(tiny_config, build_runner, tmp_path):
    tiny_config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=2)
    tiny_config.train_dataloader.sampler.type = 'DefaultSampler'
    tiny_config.log_processor.by_epoch = True
    tiny_config.default_hooks.checkpoint = dict(type='AdapterCheckpointHook', interval=1)
    whole, rest = (str(tmp_path / name) for name in ('whole', 'rest'))
    build_runner(tiny_config, {'work_dir': whole}).train()
    options = {'work_dir': rest, 'load_from': f'{whole}/epoch_1.pth', 'resume': True}
    torch.manual_seed(1)
    runner = build_runner(tiny_config, options)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 4)
    actual, expected = (read_checkpoint(f'{folder}/epoch_2.pth') for folder in (rest, whole))
    assert_same(actual['state_dict'], expected['state_dict'])
    assert_same(actual['optimizer'], expected['optimizer'])
