"""Sheets of images with their ground truth and the predictions of several models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from soma.inference import Inferencer, draw_result, side_by_side, stack_rows
from soma.inference.inferencer import result_of
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
    """Write ``panel.png`` with all methods and domains, and perhaps the small ``readme.png``.

    A row shows an image of a domain, its ground truth, and the methods' predictions.

    Args:
        models: Config and checkpoint by method; ``frozen`` and ``soma`` are in the small sheet.
        domains: Those of the config's test data to draw.
        readme: Those of them to draw in the small sheet; without any there is none.
        folder: Where to write.
    """
    config = load_config(next(iter(models.values()))[0])
    init_default_scope(config.default_scope)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    first_of = {}  # the first image of each domain
    for index in range(len(dataset)):
        first_of.setdefault(dataset.get_data_info(index)['domain'], index)
    inferencers = {
        method: Inferencer(config, str(checkpoint))
        for method, (config, checkpoint) in models.items()
    }
    first = next(iter(inferencers.values()))
    rows = {}
    for domain in domains:
        sample = dataset[first_of[domain]]['data_samples']
        image = mmcv.imread(sample.img_path)
        rgb = image[..., ::-1]
        results = {'ground truth': result_of(sample, 'gt')}
        results |= {method: inferencer(image) for method, inferencer in inferencers.items()}
        rows[domain] = {domain: rgb} | {
            name: draw_result(rgb, result, first.classes, first.palette, _SCORE_THR)
            for name, result in results.items()
        }
    legend = first.classes, first.palette
    _save(Image.fromarray(_sheet(rows.values(), *legend)), folder / 'panel.png')
    if not readme:
        return
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
