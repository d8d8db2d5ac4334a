"""Check a run against its data, and a resumed one against its config, before it starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Sized

from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import Dataset

from ...adapters.card import Card
from ...io.files import InputError
from ...models.build import plain_model
from ...utils.num_classes import check_count
from ..checks import schedule_remark
from ..saved_state import differences, fit_state, training_facts
from .prune import PruneHook

_MEMBER = r'(members\.\d+\.)?'  # of an ensemble
_HEADS = re.compile(_MEMBER + r'(roi_head\.)?(decode|auxiliary|bbox|mask|query|atss)_head(\.\d+)?')


@HOOKS.register_module()
class CheckHook(Hook):
    """Refuse what would fail, or learn nonsense, after hours.

    Before the weights are loaded: the classes of heads against those of the data, domains and
    scores that metrics and ``save_best`` name, images that would be counted twice or written over,
    novel classes that were trained on.
    When a training is resumed: its state against the config; a schedule that was changed is made
    anew (:func:`~soma.engine.saved_state.fit_state`). It is a hook of ``SomaRunner``.
    """

    priority = 'HIGHEST'

    def before_run(self, runner: Runner) -> None:
        """Check model, data and metrics.

        Raises:
            InputError: If they do not fit each other.
        """
        model = plain_model(runner.model)
        _check_novel(runner)
        for split in ('train', 'val', 'test'):
            loop = getattr(runner, f'_{split}_loop')
            if not isinstance(loop, BaseLoop):
                continue
            parts = list(_parts(loop.dataloader.dataset))
            for part in parts:
                if isinstance(part, Sized) and not len(part):
                    raise InputError(f'{split}_dataloader: a {type(part).__name__} has no image')
                check_classes(model, part, f'{split}_dataloader')
            if split != 'train':
                _check_domains(runner, split, loop, parts)
        _check_order(runner)
        if isinstance(runner._train_loop, BaseLoop):
            several = isinstance(runner.param_schedulers, dict)  # of several optimizers
            schedulers = [] if several else runner.param_schedulers or []
            if remark := schedule_remark(schedulers, runner.max_iters):
                runner.logger.warning(remark)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make the state of a training that is resumed fit the config; log what differs.

        Raises:
            InputError: If it cannot.
        """
        _check_novel(runner)
        if not runner._resume:
            return
        meta, loop = checkpoint['meta'], runner.train_loop
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        unit, last = ('epoch', loop.max_epochs) if by_epoch else ('iter', loop.max_iters)
        if meta[unit] > last:
            raise InputError(
                f'the checkpoint is of {unit} {meta[unit]}, and train_cfg.max_{unit}s is {last}: '
                'there is nothing to train'
            )
        changes = differences(meta.get('training', {}), training_facts(runner))
        if not isinstance(runner.optim_wrapper, OptimWrapperDict):  # several are left to mmengine
            changes += fit_state(checkpoint, runner.optim_wrapper, runner.param_schedulers or [])
        for change in changes:
            runner.logger.warning(f'resumed with another setting: {change}')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write down what a resumed run is compared with."""
        checkpoint['meta']['training'] = training_facts(runner)


def check_classes(model: nn.Module, dataset: Dataset, place: str) -> None:
    """Check that the heads tell as many classes apart as the data has, and leave out what it does.

    Args:
        model: Any. Heads that predict something else, such as borders, are left out, and models
            whose classes are words.
        dataset: The data; it may say nothing of classes.
        place: Where the config has it.

    Raises:
        InputError: If a head is for another number, or it or the padding ignores another label.
    """
    meta = getattr(dataset, 'metainfo', None) or {}
    ignored = getattr(dataset, 'ignore_index', None)
    if meta.get('classes') is None or hasattr(model, 'language_model'):
        return
    for name, module in model.named_modules():
        if not _HEADS.fullmatch(name) or not _is_of_classes(name, module):
            continue
        check_count(f'model.{name}', getattr(module, 'num_classes', None), meta, place)
        if ignored is not None and getattr(module, 'ignore_index', ignored) != ignored:
            raise InputError(
                f'model.{name}.ignore_index is {module.ignore_index}, that of the data of {place} '
                f'is {ignored}: what is ignored there would be learned'
            )
    padded = getattr(getattr(model, 'data_preprocessor', None), 'seg_pad_val', ignored)
    if ignored is not None and padded != ignored and place.startswith('train'):
        raise InputError(
            f'model.data_preprocessor.seg_pad_val is {padded}, ignore_index of the data of {place} '
            f'is {ignored}: what is padded would be learned'
        )


def _is_of_classes(name: str, head: nn.Module) -> bool:
    """Whether a head predicts classes: mmseg has some of the same place that predict else."""
    if re.match(_MEMBER + '(decode|auxiliary)_head', name) is None:
        return True
    predicts = any(
        hasattr(head, layer) for layer in ('conv_seg', 'linear_pred', 'cls_embed', 'cls_emb')
    )
    return predicts and not hasattr(head, 'boundary_threshold')  # STDCHead


def _parts(dataset: Dataset) -> Iterator[Dataset]:
    """The datasets that wrappers such as ``ConcatDataset`` are made of."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _parts(part)
    elif hasattr(dataset, 'dataset'):
        yield from _parts(dataset.dataset)
    else:
        yield dataset


def _metas(runner: Runner) -> dict[str, dict]:
    """What the data of each split says of itself."""
    loops = {split: getattr(runner, f'_{split}_loop') for split in ('train', 'val', 'test')}
    data = {k: v.dataloader.dataset if isinstance(v, BaseLoop) else None for k, v in loops.items()}
    return {split: getattr(dataset, 'metainfo', None) or {} for split, dataset in data.items()}


def _cards(runner: Runner) -> list[Card]:
    cards = (getattr(module, 'loaded_card', None) for module in runner.model.modules())
    return [card for card in cards if card is not None]


def _check_order(runner: Runner) -> None:
    """Check that a class has one place in all data, since files may list them in any order."""
    metas = _metas(runner)
    trained = [metas['train'].get('classes'), *(card.classes for card in _cards(runner))]
    trained = list(next(filter(None, trained), ()))
    for split, meta in metas.items():
        names = meta.get('classes') or ()
        if trained and names and not {*names} & {*trained}:
            runner.logger.warning(
                f'{split}_dataloader: the model was trained on the classes {", ".join(trained)}, '
                f'and is scored here as if they were {", ".join(names)}'
            )
        for index, name in enumerate(names):
            if name in trained and trained.index(name) != index:
                raise InputError(
                    f'{split}_dataloader: the class {name!r} is number {index} of its data, and '
                    f'number {trained.index(name)} of what the model was trained on: give '
                    f'classes={trained} to the dataset'
                )


def _check_novel(runner: Runner) -> None:
    """Check that the novel classes of few-shot segmentation are none that were trained on."""
    metas = _metas(runner)
    trained = {name for card in _cards(runner) for name in card.episode_classes or ()}
    trained |= {*metas.pop('train').get('episode_classes', ())}
    for split, meta in metas.items():
        novel = meta['episode_classes'] if meta.get('episode_split') == 'novel' else ()
        if both := [name for name in novel if name in trained]:
            raise InputError(
                f'{split}_dataloader: the model was trained on {len(both)} novel classes of this '
                f'fold, such as {both[0]}: take the fold of the training (--cfg-options fold=...)'
            )


def _check_domains(runner: Runner, split: str, loop: BaseLoop, parts: Sequence[Dataset]) -> None:
    """Check what metrics need of model and data, and that they give the best checkpoint's score."""
    metrics = loop.evaluator.metrics
    for metric in metrics:
        if hasattr(metric, 'use_model'):
            metric.use_model(runner.model)
    by_domain = [metric for metric in metrics if hasattr(metric, 'score_names')]
    if not by_domain:
        return
    from ...datasets.places import check_samples  # here, since datasets need mmseg

    folders = (metric.output_dir for metric in by_domain)
    check_samples(loop.dataloader.dataset, *filter(None, folders), by_id=True)
    domains = []
    for part in parts:
        sample = part[0]['data_samples']
        sample = sample[0] if isinstance(sample, list) else sample  # test-time augmentation
        keys = [key for key in ('class_name', 'domain') if key in sample]
        for metric in by_domain:
            if metric.sample_key not in keys[:1]:  # each episode has a domain of its own
                has = f'a {keys[0]}' if keys else f'no {metric.sample_key}'
                raise InputError(
                    f'{split}_dataloader: samples of a {type(part).__name__} have {has} to be '
                    f'scored by, a {type(metric).__name__} needs a {metric.sample_key}: use '
                    f'{metric.needs}'
                )
        domains.append(sample.domain)
    domains = [*dict.fromkeys(domains)]
    scores = [name for metric in by_domain for name in metric.score_names(domains)]
    if split == 'val' and len(by_domain) == len(metrics):
        for hook in runner.hooks:
            key, names = _monitored(hook)
            for name in names:
                if name not in scores and (key, name) != ('save_best', 'auto'):
                    raise InputError(f'{key}={name!r} is none of the scores: {", ".join(scores)}')


def _monitored(hook: Hook) -> tuple[str, Sequence[str]]:
    """The scores that a hook decides by, and the argument that names them."""
    if isinstance(hook, EarlyStoppingHook):
        return 'monitor', [hook.monitor]
    if isinstance(hook, CheckpointHook):
        return 'save_best', getattr(hook, 'key_indicators', None) or []
    if isinstance(hook, PruneHook):
        return '--score', [hook.score]
    return '', []
