"""What is wrong with a config is said before a run, in one line that names the key."""

import copy
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from mmengine.registry import DATASETS
from torch import nn
from torch.utils.data import IterableDataset

from soma.adapters.card import Card
from soma.datasets import DomainDataset
from soma.engine import SomaRunner
from soma.engine.checks import check_config, schedule_remark
from soma.engine.hooks.check import _check_order, check_classes
from soma.io.files import InputError

CASES = [
    ({'train_cfg.max_iters': -5}, 'train_cfg.max_iters must be a whole number of at least 1'),
    ({'train_cfg.val_interval': 0}, 'train_cfg.val_interval must be'),
    ({'train_dataloader.batch_size': 0}, 'train_dataloader.batch_size must be'),
    ({'train_dataloader.batch_size': 'many'}, "train_dataloader.batch_size .* got 'many'"),
    ({'train_dataloader.num_workers': -1}, 'train_dataloader.num_workers must be'),
    ({'train_dataloader.batchsize': 3}, "train_dataloader: TypeError: .* 'batchsize'"),
    ({'optim_wrapper.optimizer.lr': 'abc'}, "optim_wrapper.optimizer.lr .* got 'abc'"),
    ({'optim_wrapper.optimizer.lr': float('nan')}, 'optim_wrapper.optimizer.lr must be'),
    ({'optim_wrapper.optimizer.type': 'Adamm'}, 'optim_wrapper.*: Adamm is not in'),
    ({'optim_wrapper.optimizer.lrr': 1}, "optim_wrapper.*: TypeError.* 'lrr'"),
    ({'param_scheduler.1.end': 'late'}, r'param_scheduler\.1\.end must be'),
    ({'param_scheduler.0.type': 'Polly'}, r'param_scheduler\.0: Polly is not in'),
    ({'model.type': 'EncoderDecoderr'}, 'model: EncoderDecoderr is not in'),
    ({'model.backbone.type': 'DINOv3'}, r'model\.backbone: DINOv3 is not in'),
    ({'model.backbone.adapter.rank': 0}, r'model\.backbone: .*rank'),
    ({'model.backbone.adapter.rnk': 1}, r"model\.backbone: .*'?rnk"),
    ({'model.backbone.depth': 3}, r"model\.backbone: .*'depth'"),
    ({'model.decode_head.num_classes': 7}, r'decode_head\.num_classes is 7, .* has 19 classes'),
    ({'train_dataloader.dataset.type': 'Dataset'}, r'train_dataloader\.dataset: Dataset is not'),
    ({'train_dataloader.dataset.pipeline.0.type': 'Lod'}, r'dataset\.pipeline\.0: Lod is not in'),
    ({'train_dataloader.sampler.type': 'Sampler'}, r'train_dataloader\.sampler: Sampler is not'),
    ({'val_evaluator.type': 'Metric'}, 'val_evaluator: Metric is not in'),
    ({'val_evaluator.mean_over': ['rain']}, r"mean_over names \['rain'\]"),
    ({'default_hooks.checkpoint.save_best': 'mIoU'}, "save_best='mIoU' is none of the scores"),
    (
        {'custom_hooks': [dict(type='PruneHook', score='mIoU', after=1)]},
        "--score='mIoU' is none of the scores",
    ),
    ({'default_hooks.checkpoint.type': 'Checkpoint'}, r'default_hooks\.checkpoint: Checkpoint is'),
    ({'custom_hooks.0.type': 'Freeze'}, r'custom_hooks\.0: Freeze is not in'),
    ({'model.test_cfg.mode': 'slid'}, "test_cfg.mode must be 'slide' or 'whole', got 'slid'"),
    (
        {'model.test_cfg': dict(mode='slide', _delete_=True)},
        'model.test_cfg needs crop_size and stride',
    ),
    ({'model.decode_head.loss_decode.loss_weight': 'a'}, r'loss_decode\.loss_weight must be'),
    ({'custom_hooks': [dict(type='EMAHook', interval='a')]}, r'custom_hooks\.0\.interval must be'),
    ({'optim_wrapper.clip_grad': dict(max_norm=1, norm_type='a')}, r'clip_grad\.norm_type must'),
    (
        {
            'train_dataloader.dataset.ignore_index': 200,
            'model.decode_head.ignore_index': 200,
        },
        r'seg_pad_val is 255, ignore_index of the data of train_dataloader is 200',
    ),
    ({'train_dataloader.dataset.ignore_index': 200}, r'decode_head\.ignore_index is 255, .* 200'),
    ({'val_dataloader.dataset.datasets.0.indices': 0}, 'val_dataloader: a DomainDataset has no'),
    (
        {'val_evaluator.type': 'EpisodeIoUMetric'},
        'a domain to .* needs a class_name: use Epis',
    ),
    ({'launcher': 'slurm'}, 'launcher slurm needs srun'),
    ({'strategy.type': 'FSDPStrategy'}, r"strategy: strategy=dict\(type='FSDP2'\) shares out"),
    ({'model_wrapper_cfg.type': 'MMFullyShardedDataParallel'}, 'model_wrapper_cfg: leave it out'),
    (
        {'strategy.type': 'FSDP2', 'custom_hooks': [dict(type='EMAHook')]},
        'strategy: EMAHook copies the model: take TrainableEMAHook',
    ),
    ({'val_evaluator': None}, 'the config has val_dataloader, but no val_evaluator'),
    ({'model': None}, 'the config has no model'),
]


@pytest.mark.parametrize(('options', 'message'), CASES, ids=[next(iter(c)) for c, _ in CASES])
def test_a_wrong_config_is_refused_before_a_step(tiny_config, build_runner, options, message):
    steps = []
    with pytest.raises(InputError, match=message) as error:
        build_runner(
            tiny_config, options, before_train_iter=lambda *_, **__: steps.append(1)
        ).train()
    assert '\n' not in str(error.value)
    assert not steps


def test_samples_without_a_domain_are_refused_before_a_step(tiny_config, build_runner):
    steps = []
    for part in tiny_config.val_dataloader.dataset.datasets:
        part.pipeline[-1] = dict(type='PackSegInputs')
    with pytest.raises(InputError, match='DomainDataset have no domain'):
        build_runner(tiny_config, before_train_iter=lambda *_, **__: steps.append(1)).train()
    assert not steps


def test_the_classes_of_test_data_are_checked_too(tiny_config, build_runner):
    for part in tiny_config.test_dataloader.dataset.datasets:
        part.metainfo = dict(classes=['road', 'car'])
    with pytest.raises(InputError, match='test_dataloader has 2 classes: road, car'):
        build_runner(tiny_config).test()


def test_classes_in_another_order_than_trained_on_are_refused(tiny_config, build_runner):
    parts = tiny_config.val_dataloader.dataset.datasets
    names = ['sidewalk', 'road', *DomainDataset.METAINFO['classes'][2:]]
    for part in parts:
        part.metainfo = dict(classes=names)
    runner = build_runner(tiny_config, before_train_iter=lambda *_, **__: pytest.fail('a step'))
    message = "val_dataloader: the class 'sidewalk' is number 0 of its data, and number 1 of what"
    with pytest.raises(InputError, match=message):
        runner.train()


@pytest.mark.parametrize(
    ('parts', 'refused'),
    [
        (dict(decode_head=dict(num_classes=4, conv_seg={})), True),
        (dict(decode_head=dict(num_classes=4)), False),  # VPDDepthHead
        (dict(roi_head=dict(bbox_head=dict(num_classes=4))), True),
        (dict(roi_head=dict(bbox_head=dict(num_classes=2))), False),  # things of PanopticFPN
        (dict(auxiliary_head=dict(num_classes=4, conv_seg={})), True),
        (
            dict(auxiliary_head=dict(num_classes=4, conv_seg={}, boundary_threshold=0.1)),
            False,
        ),  # STDCHead
        (dict(rpn_head=dict(num_classes=1)), False),
        (dict(language_model={}, bbox_head=dict(num_classes=256)), False),  # GroundingDINO
        (dict(decode_head=dict(num_classes=3, conv_seg={}, ignore_index=255)), False),
        (dict(decode_head=dict(num_classes=3, conv_seg={}, ignore_index=0)), True),
    ],
)
def test_heads_that_count_something_else_pass(parts, refused):
    def module(values):
        result = nn.Module()
        for name, value in values.items():
            setattr(result, name, module(value) if isinstance(value, dict) else value)
        return result

    with pytest.raises(InputError) if refused else nullcontext():
        meta = dict(classes=['a', 'b', 'c'], thing_classes=['a', 'b'])
        check_classes(module(parts), SimpleNamespace(metainfo=meta, ignore_index=255), 'data')


def test_the_norm_of_gradients_may_be_only_logged(tiny_config):
    tiny_config.optim_wrapper.clip_grad = dict(max_norm=math.inf)
    check_config(tiny_config)


@DATASETS.register_module(force=True)
class Stream(IterableDataset):
    """Samples without a number; mmengine's loops and logs ask how many there are."""

    def __init__(self, dataset):
        self.parts = DATASETS.build(dataset)

    def __iter__(self):
        return (self.parts[index] for index in range(len(self)))

    def __len__(self):
        return len(self.parts)


@pytest.mark.slow
def test_a_stream_of_samples_trains_and_resumes(tiny_config, build_runner):
    loader = tiny_config.train_dataloader
    loader.sampler, loader.dataset = None, dict(type='Stream', dataset=loader.dataset)
    build_runner(tiny_config, {'train_cfg.max_iters': 2}).train()
    runner = build_runner(tiny_config, {'resume': True})
    runner.train()
    assert runner.iter == 4


def test_a_runner_without_a_config(tiny_config):
    """As mmengine documents it."""
    config = copy.deepcopy(tiny_config)
    parts = ('model', 'work_dir', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    parts += ('param_scheduler', 'default_scope', 'env_cfg', 'log_level', 'log_processor')
    runner = SomaRunner(**{name: config[name] for name in parts}, experiment_name='plain')
    runner.train()
    assert runner.iter == 4


def test_an_error_of_training_itself_keeps_its_traceback(tiny_config, build_runner):
    def fail(*_, **__):
        raise RuntimeError('a fault of the program')

    with pytest.raises(RuntimeError, match='a fault of the program'):
        build_runner(tiny_config, before_train_iter=fail).train()


@pytest.mark.parametrize(
    ('ends', 'remark'),
    [([4, 8], None), ([4], 'iteration 4: its last values stay until 8'), ([9], None), ([], None)],
)
def test_schedules_that_end_elsewhere_are_remarked(ends, remark):
    text = schedule_remark([SimpleNamespace(by_epoch=False, end=end) for end in ends], 8)
    assert text is remark if remark is None else remark in text


def test_scores_of_other_classes_are_told_of(tiny_config, build_runner, monkeypatch):
    runner, warnings = build_runner(tiny_config), []
    assert runner.test_loop.dataloader.dataset.metainfo['classes'][0] == 'road'
    monkeypatch.setattr(runner.logger, 'warning', warnings.append)
    for classes, count in ((('soil', 'leaf'), 1), (('road', 'leaf'), 0), (None, 0)):
        warnings.clear()
        runner.model.loaded_card = Card(classes=classes)
        _check_order(runner)
        assert len(warnings) == count
        assert not count or 'trained on the classes soil, leaf, and is scored' in warnings[0]
