"""Checks all data of a config before a run of days."""

from __future__ import annotations

import inspect
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmseg.datasets import BaseSegDataset

from ...io.files import InputError
from ...utils.config import each_dataset
from ...utils.num_classes import check_count, heads_of
from ...utils.parallel import run_parallel
from ..coco_files import CocoFile
from ..image_files import find_images, list_files, without_suffix
from ..label_reader import reader_of_values
from ..packed_files import is_packed
from .check_boxes import BoxPair, check_box_pair, list_box_pairs
from .check_coco import CocoPair, check_coco_pair, list_coco_pairs
from .check_files import Fault, Pair, check_pair
from .counts import IGNORED, Counts


@dataclass
class Part:
    """One dataset of a config, and what was found in it.

    Attributes:
        name: Split and domain, such as ``train gta``.
        places: Where the config has it, such as ``val_dataloader.dataset.datasets.0``.
        pairs: Its samples.
        names: The names that a list has for them.
        faults: What is wrong.
        counts: How often each class occurs in labels without a fault.
        bad: Indices of the samples that would break training.
        notes: What is unusual about it as a whole.
        ann_file: The file that lists its images, or ''.
        coco: What is in that file, if it is COCO's.
    """

    name: str
    places: list[str]
    pairs: list[Pair | BoxPair | CocoPair] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    counts: Counts = field(default_factory=lambda: Counts(()))
    bad: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    ann_file: str = ''
    coco: CocoFile | None = None

    @property
    def breaks(self) -> bool:
        """Whether training or testing would fail, or learn nonsense."""
        return any(fault.breaks for fault in self.faults)


def check_config(config: Config, nproc: int = 1) -> list[Part]:
    """Read every image and label file that a config trains and tests on.

    Args:
        config: The config.
        nproc: Number of processes.

    Returns:
        What was found, by dataset; one that training and testing share is read once.

    Raises:
        InputError: If the config names no data, or data without label maps and boxes.
    """
    parts: dict[str, Part] = {}
    names: Counter[str] = Counter()
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmseg')):
        model = config.get('model') or {}
        for split in ('train', 'val', 'test'):
            loader = f'{split}_dataloader'
            data = (config.get(loader) or {}).get('dataset')
            for place, dataset in each_dataset(data, f'{loader}.dataset'):
                content = {k: v for k, v in dataset.items() if k != 'pipeline'}
                key = repr(sorted(content.items(), key=str))
                if key in parts:
                    _find_again(parts[key], place)
                    parts[key].places.append(place)
                else:
                    name = f'{split} {dataset.get("domain", dataset["type"])}'
                    names[name] += 1
                    part = Part(f'{name} {names[name]}' if names[name] > 1 else name, [place])
                    counts_by_domain = 'Domain' in str(config.get(f'{split}_evaluator'))
                    parts[key] = _list_pairs(part, content, model, counts_by_domain)
    if not parts:
        raise InputError('the config has no train, val or test data to check')
    work = [(part, index) for part in parts.values() for index in range(len(part.pairs))]
    results = run_parallel(_check_pair, [p.pairs[i] for p, i in work], nproc, 'checking')
    for (part, index), (faults, counts) in zip(work, results, strict=True):
        part.faults += faults
        if any(fault.breaks for fault in faults):
            part.bad.add(index)
        if counts is not None:
            part.counts.add(counts)
    for part in parts.values():
        _find_repeated(part)
    _look_at_training([p for p in parts.values() if p.places[0].startswith('train_')])
    return [*parts.values()]


def smallest_side(backbone: Mapping) -> int:
    """The pixels that an image needs each way: a backbone enlarges it to whole patches."""
    kind = backbone.get('type')
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    parameters = inspect.signature(kind).parameters.values() if kind else ()
    options = {**{p.name: p.default for p in parameters}, **backbone}
    if not isinstance(patch_size := options.get('patch_size'), int):
        return 2  # no vision transformer
    pyramid = options.get('pyramid')
    factors = pyramid if isinstance(pyramid, Sequence) else ()
    factors = [factor for factor in factors if isinstance(factor, int | float) and factor > 0]
    # The map that shrinks the most must keep a pixel.
    return patch_size * (math.ceil(1 / min(factors, default=1)) - 1) + 1


def _find_again(part: Part, place: str) -> None:
    """Note a dataset that is twice in one data loader."""
    loader = place.split('.')[0]
    if any(before.split('.')[0] == loader for before in part.places):
        text = f'is the dataset of {part.places[0]} again: its images would count twice'
        part.faults.append(Fault('repeated', place, text, loader != 'train_dataloader'))


def _look_at_training(parts: list[Part]) -> None:
    """Look for classes that no label of all training data has."""
    amounts: Counter[str] = Counter()
    for part in parts:
        pairs = zip(part.counts.names, part.counts.amounts.tolist(), strict=True)
        amounts.update({name: amount for name, amount in pairs if name != IGNORED})
    absent = [name for name, amount in amounts.items() if not amount]
    total = sum(part.counts.total for part in parts)
    if total and len(absent) == len(amounts):
        text = f'none of the {total} images to train on has a label of {", ".join(absent)}'
        parts[0].faults.append(Fault('no labels', parts[0].places[0], text))
    elif total and absent:
        parts[0].notes.append(f'no label of the training data has {", ".join(absent)}')


def _find_repeated(part: Part) -> None:
    seen = set()
    for index, name in enumerate(part.names):
        if name in seen:
            text = 'is listed before: it would count twice'
            part.faults.append(Fault('repeated', str(part.pairs[index].image), text))
            part.bad.add(index)
        seen.add(name)


def _check_pair(pair: Pair | BoxPair | CocoPair) -> tuple[list[Fault], np.ndarray | None]:
    checks = {Pair: check_pair, BoxPair: check_box_pair, CocoPair: check_coco_pair}
    return checks[type(pair)](pair)


def _list_boxes(
    part: Part, dataset: BaseDataset, indices: int | Sequence[int] | None, smallest: int
) -> None:
    """List the samples of a dataset of boxes."""
    part.counts = Counts(dataset.metainfo['classes'], 'boxes')
    part.ann_file = dataset.ann_file
    if hasattr(dataset, 'list_files'):
        part.pairs, part.names = list_box_pairs(dataset, indices, smallest)
        return
    part.coco, part.pairs = list_coco_pairs(dataset, indices, smallest)
    part.names = [pair.entry.name for pair in part.pairs]
    part.faults += [Fault(kind, dataset.ann_file, text) for kind, text in part.coco.faults]
    others = [name for name in part.coco.categories.values() if name not in part.counts.names]
    if others:
        part.notes.append(f'boxes of {", ".join(others)} are left out')
    if not part.coco.labelled:
        text = 'has no annotations: it is good for predicting alone'
        part.faults.append(Fault('no boxes', dataset.ann_file, text, not dataset.test_mode))


def _list_pairs(part: Part, config: Mapping, model: Mapping, counts_by_domain: bool) -> Part:
    """List the samples of a dataset, and label maps that belong to none."""
    smallest = smallest_side(model.get('backbone', {}))
    try:
        lazy = {'pipeline': [], 'serialize_data': False, 'lazy_init': True}
        dataset = DATASETS.build({**config, **lazy})
        if hasattr(dataset, 'check_root'):
            dataset.check_root()
        _check_heads(part, model, getattr(dataset, 'metainfo', None) or {})
        if hasattr(dataset, 'list_files') or hasattr(dataset, 'read_file'):  # of mmdet
            _list_boxes(part, dataset, config.get('indices'), smallest)
            return part
        if isinstance(dataset, BaseSegDataset):
            dataset.full_init()
    except FileNotFoundError as error:
        part.faults.append(Fault('empty', part.places[0], str(error)))
        return part
    except (InputError, AssertionError) as error:  # mmseg asserts that a list is there
        part.faults.append(Fault('unusable', part.places[0], str(error)))
        return part
    if not isinstance(dataset, BaseSegDataset):
        kind = config['type']
        raise InputError(f'{part.places[0]}: a {kind} has no label maps to check, nor boxes')
    images, labels = (dataset.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
    if is_packed(images):
        raise InputError(f'{images} is packed: check the folder that was packed')
    names, part.ann_file = dataset.metainfo['classes'], dataset.ann_file
    part.counts = Counts((*names, IGNORED))
    how = dataset.ignore_index, dataset.label_map, dataset.reduce_zero_label
    reader = getattr(dataset, 'reader', None) or reader_of_values(len(names), *how, turns=False)
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        label = sample.get('seg_map_path')
        label = None if label is None else Path(label)
        part.pairs.append(Pair(Path(sample['img_path']), label, reader, smallest))
        name = os.path.relpath(sample['img_path'], images)
        part.names.append(without_suffix(name, dataset.img_suffix) or name)
    if part.pairs and 'domain' not in sample:
        text = 'samples have no domain, by which scores are counted: use DomainDataset'
        part.faults.append(Fault('no domain', part.places[0], text, counts_by_domain))
    if labels is not None and not dataset.ann_file and os.path.isdir(labels):
        part.faults += _labels_without_image(dataset, images, labels)
    return part


def _check_heads(part: Part, model: Mapping, meta: Mapping) -> None:
    """Note heads that are for another number of classes than the data has."""
    of_words = 'language_model' in model or not meta.get('classes')
    for head, config in () if of_words else heads_of(model):
        try:
            check_count(head, config.get('num_classes'), meta, part.places[0].split('.')[0])
        except InputError as error:
            part.faults.append(Fault('classes', part.places[0], str(error)))


def _labels_without_image(dataset: BaseSegDataset, images: str, labels: str) -> list[Fault]:
    if hasattr(dataset, 'images'):
        known = dataset.images()
    else:
        known = find_images(list_files(images), dataset.img_suffix)
    used = {os.path.join(images, file) for file in known.values()}  # labels may be among them
    faults = []
    for file in list_files(labels):
        name, path = without_suffix(file, dataset.seg_map_suffix), os.path.join(labels, file)
        if name is not None and name not in known and path not in used:
            faults.append(Fault('no image', path, 'has no image', False))
    return faults
