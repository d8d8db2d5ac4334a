"""Draw what a config trains or tests on: images with their ground truth."""

from __future__ import annotations

import os
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import set_random_seed
from PIL import Image

from soma.inference.drawing import draw_result, side_by_side
from soma.inference.inferencer import result_of
from soma.io.files import InputError, atomic_path, check_folder
from soma.utils.colours import colours_of
from soma.utils.progress import track


def browse_dataset(
    config: Config,
    out_dir: str | os.PathLike,
    split: str = 'train',
    number: int = 20,
    seed: int = 0,
) -> list[Path]:
    """Write images of a config's data beside their ground truth.

    Those to train on are drawn as the train pipeline gives them to the model, which normalises
    them. The pipelines that test leave the ground truth in pixels of the image's file, so there the
    file is drawn.

    Args:
        config: Of a segmentor or a detector.
        out_dir: Folder to write to.
        split: ``'train'``, ``'val'`` or ``'test'``.
        number: How many images; all if there are fewer.
        seed: Of the choice of the images and of the pipeline's random numbers.

    Returns:
        The files written, ``<place in the dataset>_<name of the image>.png``.

    Raises:
        InputError: If ``number`` is below 1, the config has no such data, or nothing can be written
            to the folder; at the end, when all others are drawn, if some samples cannot be used.
    """
    if number < 1:
        raise InputError(f'--number must be at least 1, got {number}')
    if not (loader := config.get(f'{split}_dataloader')):
        raise InputError(f'the config has no {split}_dataloader')
    check_folder(out_dir)
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(loader.dataset)
    classes, palette = dataset.metainfo['classes'], colours_of(dataset.metainfo)
    set_random_seed(seed)
    chosen = sorted(np.random.permutation(len(dataset))[:number].tolist())
    files = [Path(dataset.get_data_info(index)['img_path']) for index in chosen]
    if Path(out_dir).resolve() in {file.parent.resolve() for file in files}:
        raise InputError(f'{out_dir} is a folder of the data: choose another')
    written, failures = [], []
    for index in track(chosen, len(chosen), f'drawing {split} data'):
        try:
            item = dataset[index]
        except (InputError, OSError) as error:
            failures.append(str(error))
            continue
        sample = item['data_samples']
        file = Path(sample.img_path)
        if split == 'train':  # from BGR, channels first
            image = item['inputs'].numpy().transpose(1, 2, 0)[..., ::-1].astype(np.uint8)
        else:
            image = mmcv.imread(sample.img_path, channel_order='rgb')
        panels = {f'{sample.get("domain", split)}: {file.name}': image}
        if (ground_truth := result_of(sample, 'gt')) is not None:
            panels['ground truth'] = draw_result(image, ground_truth, classes, palette)
        written.append(Path(out_dir) / f'{index:06d}_{file.stem}.png')
        with atomic_path(written[-1]) as temporary:
            sheet = side_by_side([*panels.values()], [*panels], classes, palette)
            Image.fromarray(sheet).save(temporary)
    if failures:
        text = f'{len(failures)} of {len(chosen)} samples are not drawn: {"; ".join(failures)}'
        raise InputError(text)
    return written
