"""A resumed run ends as one that was never interrupted, bit for bit."""

import pytest
import torch

from soma.engine.resume import only_file
from soma.io.checkpoint_files import read_checkpoint
from soma.io.files import InputError


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


def test_the_best_checkpoint_is_found_by_a_pattern(tmp_path):
    pattern = tmp_path / 'best_*.pth'
    (tmp_path / 'none').mkdir()
    assert only_file(tmp_path / 'none.pth') == str(tmp_path / 'none.pth')  # others say that
    with pytest.raises(InputError, match=r'best_\*\.pth must fit one file, it fits none'):
        only_file(pattern)
    for name in ('best_mean_mIoU_iter_4.pth', 'iter_8.pth'):
        (tmp_path / name).touch()
    assert only_file(pattern) == str(tmp_path / 'best_mean_mIoU_iter_4.pth')
    assert only_file(tmp_path) == only_file(pattern)  # the best of a work dir, but to resume
    with pytest.raises(InputError, match='no checkpoint to resume from in'):
        only_file(tmp_path / 'none', resume=True)
    (tmp_path / 'best_fog_mIoU_iter_8.pth').touch()
    with pytest.raises(InputError, match=r'best_fog_mIoU_iter_8\.pth, best_mean_mIoU_iter_4\.pth'):
        only_file(pattern)
