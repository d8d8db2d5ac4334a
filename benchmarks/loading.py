"""How many training images a core makes, step by step: of a folder, and of the same one packed.

The images are of GTA's size (1914 x 1052), the steps of `configs/_base_/datasets/gta_512x512.py`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from common import main
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from soma.datasets import DomainDataset
from soma.datasets.prepare.pack import pack
from soma.utils.config import REPOSITORY, load_config

SIZE = (1914, 1052)


def write_pairs(root: Path, count: int) -> None:
    """Write images of smooth areas with noise, in files as large as real ones, and labels."""
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    for index in range(count):
        rng = np.random.default_rng(index)
        areas = rng.integers(0, 19, (26, 48), np.uint8)
        labels = Image.fromarray(areas).resize(SIZE, Image.Resampling.NEAREST)
        colours = Image.fromarray(rng.integers(30, 220, (19, 3), np.uint8)[areas])
        smooth = np.asarray(colours.resize(SIZE, Image.Resampling.BICUBIC), np.float32)
        noise = rng.normal(0, 2, smooth.shape)
        image = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
        image.save(root / f'images/{index}.png')
        labels.save(root / f'labels/{index}_labelTrainIds.png')


def seconds_a_step(dataset: DomainDataset, seeds: range) -> tuple[dict[str, float], list[bytes]]:
    """Seconds of the processor that each step takes an image, and the images that come out."""
    seconds, images = defaultdict(float), []
    for seed in seeds:
        np.random.seed(seed)
        sample = dataset.get_data_info(seed % len(dataset))
        for step in dataset.pipeline.transforms:
            start = time.process_time()
            sample = step(sample)
            seconds[type(step).__name__] += time.process_time() - start
        images.append(sample['inputs'].numpy().tobytes())
        images.append(sample['data_samples'].gt_sem_seg.data.numpy().tobytes())
    return {name: total / len(seeds) for name, total in seconds.items()}, images


def measure(count: int = 6, rounds: int = 4) -> list[dict]:
    """Time both; they take turns, and each number is that of the fastest round.

    Raises:
        RuntimeError: If a pixel differs.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    init_default_scope('mmseg')
    config = load_config(REPOSITORY / 'configs/_base_/datasets/gta_512x512.py')
    config = config.train_dataloader.dataset
    with TemporaryDirectory() as folder:
        plain = Path(folder, 'plain')
        plain.mkdir()
        write_pairs(plain, count)
        packed = pack(plain, Path(folder, 'packed'))
        roots = {'folder': str(plain), 'packed': f'shards://{folder}/packed'}
        datasets = {k: DATASETS.build({**config, 'data_root': v}) for k, v in roots.items()}
        best: dict[str, dict[str, float]] = {}
        for number in range(rounds):
            seeds = range(number * count, (number + 1) * count)
            results = {name: seconds_a_step(data, seeds) for name, data in datasets.items()}
            if results['folder'][1] != results['packed'][1]:
                raise RuntimeError('the packed images have other pixels')
            for name, (seconds, _) in results.items():
                old = best.setdefault(name, seconds)
                best[name] = {step: min(old[step], value) for step, value in seconds.items()}
    steps = {
        step: [best[way][other] for way, other in (('folder', step), ('packed', step))]
        for step in best['folder']
    }
    steps['all'] = [sum(best[way].values()) for way in ('folder', 'packed')]
    rows = [
        dict(step=step, folder_ms=round(1e3 * a, 1), packed_ms=round(1e3 * b, 1))
        for step, (a, b) in steps.items()
    ]
    for row, (a, b) in zip(rows, steps.values(), strict=True):
        row |= {'speed': round(a / b, 2), 'size': ''}
    rows[-1]['size'] = round(packed.size / packed.size_before, 2)
    return rows


if __name__ == '__main__':
    main(measure, 'Training images a core, GTA')
