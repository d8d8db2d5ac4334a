"""Writes the config of a training on a folder of one's own images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS
from yapf.yapflib import yapf_api

from ...io.files import InputError, atomic_path, check_folder
from ...utils.config import load_config, path_from
from .own_boxes import find_coco, read_boxes
from .own_data import OwnData
from .own_masks import read_masks
from .recipe import ARCHS, CONFIGS, PUBLISHED, Recipe

_BLOCKS, _STEPS = 24, 40000  # of the network and the training of the published config


def write_config(
    root: Path,
    out: Path,
    recipe: Recipe,
    classes: Sequence[str] | None = None,
    val_split: float = 0.2,
    nproc: int = 1,
) -> OwnData:
    """Look at a folder of images with masks or boxes, and write a config to train on it.

    Args:
        root: The folder: images and masks of one name (:func:`~.scan.find_pairs`), or images and
            JSON files as COCO has them.
        out: The config to write, ``.py``; lists of images are written beside it.
        recipe: What to train.
        classes: Names of the classes.
        val_split: Share of the images to validate on, where the folder has no split.
        nproc: Number of processes that read masks.

    Returns:
        What is in the folder.

    Raises:
        FileNotFoundError: If there is no such folder.
        InputError: If ``out`` is no new ``.py`` file, or the folder is none or has nothing to train
            on.
    """
    if out.suffix != '.py' or not out.stem.isidentifier():
        raise InputError(f'{out} must be called like a file of Python, such as my_data.py')
    _check_new(out)
    if not 0 < val_split < 1:
        raise InputError(f'val_split must be between 0 and 1, got {val_split}')
    if not root.is_dir():
        if root.exists():
            raise InputError(f'{root} is a file: give the folder of all images and masks or JSON')
        raise FileNotFoundError(f'no folder {root}')
    check_folder(out.parent)
    root, out = root.resolve(), out.resolve()
    if paths := find_coco(root):
        if recipe.head:
            raise InputError(f'{root} has boxes, whose detector is DINO: leave --head out')
        data = read_boxes(root, paths, out, classes, val_split)
    else:
        data = read_masks(root, out, classes, val_split, nproc)
    for file in data.files:
        _check_new(file)
    text = _text(data, root, recipe, out, has_boxes=bool(paths))
    for file, write in data.files.items():
        write(file)
    with atomic_path(out) as temporary:
        temporary.write_text(text)
    return data


def _check_new(file: Path) -> None:
    if file.exists():
        raise InputError(f'{file} is there already: remove it, or choose another name with --out')


class _Code(str):
    """An expression of a config, where others are values."""

    __slots__ = ()


_NO_TEST = {
    '# No folder test: a test is on the images that choose the best checkpoint\n'
    'test_dataloader': _Code('val_dataloader')
}


def _text(data: OwnData, root: Path, recipe: Recipe, out: Path, has_boxes: bool) -> str:
    """The text of the config."""
    datasets = ['boxes_1024x1024.py'] if has_boxes else ['crop_512x512.py', 'testing.py']
    bases = (
        f'models/{recipe.model(has_boxes).name}',
        *(f'datasets/{name}' for name in datasets),
        f'schedules/{_schedule(has_boxes)}',
        f'default_runtime{"_det" if has_boxes else ""}.py',
    )
    kind = 'DomainCocoDataset' if has_boxes else 'DomainDataset'
    dataset, loaders = dict(type=kind, domain=root.name, **data.options), {}
    pipelines = _test_pipelines(data.sizes, has_boxes)
    for split, options in data.splits.items():
        DATASETS.build({**dataset, **options, 'lazy_init': True})  # refuses what it cannot use
        pipeline = 'test_pipeline' if pipelines else '_base_.test_pipeline'
        pipeline = _Code('_base_.train_pipeline' if split == 'train' else pipeline)
        options = _arguments({**options, 'pipeline': pipeline})
        loaders[split] = dict(dataset=_Code(f'dict(own_data, {options})'))
    batch = min(2 if has_boxes else 4, data.counts['train'].total)
    statements = {
        '_base_': [path_from(CONFIGS / '_base_' / base, out.parent) for base in bases],
        'num_classes': len(data.classes),
        'iters': recipe.iters,
        'own_data': dataset,
        **pipelines,
        'train_dataloader': dict(batch_size=batch, **loaders['train']),
        'val_dataloader': loaders['val'],
        **({'test_dataloader': loaders['test']} if 'test' in loaders else _NO_TEST),
        **_training(recipe, has_boxes),
    }
    images = sum(data.sizes.values())
    title = f'# {recipe.method}: {images} images of {root}, {len(data.classes)} classes'
    lines = [f'{key} = {_code(value)}' for key, value in statements.items()]
    style = dict(based_on_style='pep8', column_limit=100, dedent_closing_brackets=True)
    style['split_all_top_level_comma_separated_values'] = True
    return yapf_api.FormatCode('\n'.join([title, *lines, '']), style_config=style)[0]


def _test_pipelines(sizes: Iterable[tuple[int, int]], has_boxes: bool) -> dict[str, _Code]:
    """Pipelines to test images of some sizes, with a comment; none if they are the base's."""
    what, of = ('side', max) if has_boxes else ('short side', min)
    largest = max(map(of, sizes), default=1024)  # a JSON file need not say sizes
    side = min(1024, max(512, largest))
    tta = '[*test_pipeline[:2], _base_.tta_pipeline[1]]'
    test = f'dict(_base_.test_pipeline[1], scale=({2 * side}, {side})), *_base_.test_pipeline[2:]'
    if has_boxes:
        if side == 1024:
            return {}
        test = f'dict(_base_.test_pipeline[1], scale=({side}, {side})), '
        test += f'dict(_base_.test_pipeline[2], size=({side}, {side})), *_base_.test_pipeline[3:]'
        larger = 5 * side // 4  # as in the base
        sizes = f'[test_pipeline[1], dict(test_pipeline[1], scale=({larger}, {larger}))]'
        tta = f'[_base_.tta_pipeline[0], dict(_base_.tta_pipeline[1], transforms=[{sizes}, '
        tta += '*_base_.tta_pipeline[1].transforms[1:]])]'
    comment = f'# By the largest {what} of these images, {largest} pixels: from 512 to 1024\n'
    test = f'[_base_.test_pipeline[0], {test}]'
    return {f'{comment}test_pipeline': _Code(test), 'tta_pipeline': _Code(tta)}


def _training(recipe: Recipe, has_boxes: bool) -> dict:
    """What of a config is the method's: its published one, scaled to the network and the steps."""
    depth, weights = ARCHS[recipe.arch][1], recipe.weights()
    published = load_config(CONFIGS / PUBLISHED.format(recipe.method))
    backbone, model = dict(init_cfg=dict(checkpoint=weights)), {}
    if weights.startswith('dinov2_') and weights.endswith('_reg'):
        backbone['registers'] = 4
    if (frozen := published.model.backbone.get('frozen_blocks')) is not None:
        backbone['frozen_blocks'] = max(0, depth - _BLOCKS + frozen)
    if adapter := dict(published.model.backbone.get('adapter') or {}):
        if 'start_block' in adapter:
            adapter['start_block'] = adapter['start_block'] * depth // _BLOCKS
        if has_boxes or recipe.head != 'mask2former':
            adapter.pop('link', None)  # to the queries of that head
        else:
            model['decode_head'] = dict(type=published.model.decode_head.type)
        backbone['adapter'] = adapter
    schedule = Config.fromfile(CONFIGS / '_base_/schedules' / _schedule(has_boxes))
    others = [s for s in published.param_scheduler if not s.type.endswith('LR')]
    hooks = [h for h in published.custom_hooks if 'EMA' in h.type and not has_boxes]
    # The published 0.0002 of 40,000 steps would hardly leave the start in fewer.
    hooks = [{**_steps(dict(hook)), 'momentum': _Code('8 / iters')} for hook in hooks]
    if recipe.head == 'eomt':
        hooks.append(dict(type='MaskAnnealingHook'))
    interval = _Code('max(100, iters // 10)')  # after the last step, too
    shown = _Code('min(50, max(1, iters // 10))')
    result = dict(
        model=dict(backbone=backbone, **model),
        train_cfg=dict(max_iters=_Code('iters'), val_interval=interval),
        param_scheduler=[_steps(dict(s)) for s in [*schedule.param_scheduler, *others]],
        default_hooks=dict(
            checkpoint=dict(interval=interval, max_keep_ckpts=1), logger=dict(interval=shown)
        ),
    )
    rate = published.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult
    if rate != schedule.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult:
        keys = dict(backbone=dict(lr_mult=rate))
        result['optim_wrapper'] = dict(paramwise_cfg=dict(custom_keys=keys))
    if hooks:
        extra = ', '.join(map(_code, hooks))
        result['custom_hooks'] = _Code(f'[*_base_.custom_hooks, {extra}]')
    return result


def _schedule(has_boxes: bool) -> str:
    return 'adamw_det_40k.py' if has_boxes else 'adamw_40k.py'


def _steps(part: dict) -> dict:
    """A scheduler or a hook whose numbers of steps are shares of ``iters``."""
    for key in ('begin', 'end', 'begin_iter', 'milestones'):
        if key in part:
            value = part[key]
            part[key] = [*map(_share, value)] if isinstance(value, list) else _share(value)
    return part


def _share(steps: int) -> int | _Code:
    if steps == 0:
        return 0
    share = f'int({steps / _STEPS:g} * iters)'
    # A warm-up must have a first and a last step, however short the training is.
    return _Code('iters' if steps == _STEPS else f'max(2, {share})' if steps < 8000 else share)


def _code(value: object) -> str:
    """An expression as people write it in configs."""
    if isinstance(value, _Code):
        return str(value)
    if isinstance(value, Mapping) and all(isinstance(k, str) and k.isidentifier() for k in value):
        return f'dict({_arguments(value)})'
    if isinstance(value, Mapping):
        return '{' + ', '.join(f'{k!r}: {_code(v)}' for k, v in value.items()) + '}'
    if isinstance(value, list):
        return '[' + ', '.join(map(_code, value)) + ']'
    return repr(value)


def _arguments(options: Mapping) -> str:
    return ', '.join(f'{key}={_code(value)}' for key, value in options.items())
