"""Sheets of images with their ground truth and the predictions of several models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData
from PIL import Image

from soma.inference import Inferencer, draw_result, side_by_side, stack_rows
from soma.io.files import atomic_path
from soma.utils.config import load_config

_SCORE_THR = 0.25  # scores are low after so short a training
_README_METHODS = ('frozen', 'soma')
_README_TILE = 296  # pixels: four columns are about 1200 wide


def write_panels(
    models: Mapping[str, tuple[Path, Path]],
    domains: Sequence[str],
    readme: Sequence[str],
    folder: Path,
) -> None:
    """Write ``panel.png`` with all methods and domains, and the small ``readme.png``.

    A row shows an image of a domain, its ground truth, and the methods' predictions.

    Args:
        models: Config and checkpoint by method; ``frozen`` and ``soma`` are in the small sheet.
        domains: Those of the config's test data to draw.
        readme: Those of them to draw in the small sheet.
        folder: Where to write.
    """
    config = load_config(next(iter(models.values()))[0])
    init_default_scope(config.default_scope)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    samples = {}
    for index in range(len(dataset)):
        sample = dataset.get_data_info(index)
        samples.setdefault(sample['domain'], sample)
    inferencers = {
        method: Inferencer(config, str(checkpoint))
        for method, (config, checkpoint) in models.items()
    }
    first = next(iter(inferencers.values()))
    rows = {}
    for domain in domains:
        image = mmcv.imread(samples[domain]['img_path'])
        rgb = image[..., ::-1]
        results = {'ground truth': _ground_truth(samples[domain])}
        results |= {method: inferencer(image) for method, inferencer in inferencers.items()}
        rows[domain] = {domain: rgb} | {
            name: draw_result(rgb, result, first.classes, first.palette, _SCORE_THR)
            for name, result in results.items()
        }
    legend = first.classes, first.palette
    _save(Image.fromarray(_sheet(rows.values(), *legend)), folder / 'panel.png')
    small = [
        {name: _shrink(rows[domain][name]) for name in (domain, 'ground truth', *_README_METHODS)}
        for domain in readme
    ]
    # Few colours make a small file.
    sheet = Image.fromarray(_sheet(small, *legend)).quantize(256, dither=Image.Dither.NONE)
    _save(sheet, folder / 'readme.png')


def _sheet(rows: Iterable[Mapping], classes: Sequence[str], palette: Sequence) -> np.ndarray:
    """Rows of images, the last with the legend."""
    *above, last = rows
    sheets = [side_by_side(list(row.values()), list(row)) for row in above]
    return stack_rows([*sheets, side_by_side(list(last.values()), list(last), classes, palette)])


def _shrink(tile: np.ndarray) -> np.ndarray:
    height = round(_README_TILE * tile.shape[0] / tile.shape[1])
    image = Image.fromarray(tile).resize((_README_TILE, height), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _save(image: Image.Image, path: Path) -> None:
    with atomic_path(path) as temporary:
        image.save(temporary, optimize=True)


def _ground_truth(sample: Mapping) -> np.ndarray | InstanceData:
    """The labels of a sample of a dataset, as an ``Inferencer`` returns predictions."""
    if 'seg_map_path' in sample:
        return mmcv.imread(sample['seg_map_path'], flag='unchanged')
    objects = [box for box in sample['instances'] if not box['ignore_flag']]
    return InstanceData(
        bboxes=np.array([box['bbox'] for box in objects], float).reshape(-1, 4),
        labels=np.array([box['bbox_label'] for box in objects], int),
    )
