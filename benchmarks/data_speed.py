"""How many pairs of Cityscapes' size a minute tools/check_data.py reads, and a conversion makes.

Beside it what training does to load the same pairs (mmseg's transforms), in the same process.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from mmengine.registry import TRANSFORMS
from PIL import Image

import soma  # noqa: F401, registers
from soma.datasets.label_reader import reader_of_values
from soma.datasets.labels import CITYSCAPES_TO_TRAIN, TRAIN_TO_CITYSCAPES
from soma.datasets.prepare.check_files import Pair, check_pair
from soma.datasets.prepare.convert_files import LabelJob


def make_pairs(folder: Path, count: int) -> list[LabelJob]:
    """Write areas of random classes with noise, whose files are as large as real ones."""
    jobs = []
    for index in range(count):
        rng = np.random.default_rng(index)
        areas = Image.fromarray(rng.choice(TRAIN_TO_CITYSCAPES, (32, 64)))
        raw = np.array(areas.resize((2048, 1024), Image.Resampling.NEAREST))
        colours = rng.integers(30, 220, (34, 3))
        noise = rng.normal(0, 3, (1024, 2048, 1))
        image = folder / f'{index}.png'
        Image.fromarray((colours[raw] + noise).clip(0, 255).astype(np.uint8)).save(image)
        source = folder / f'{index}_labelIds.png'
        Image.fromarray(raw).save(source)
        target = folder / f'{index}_labelTrainIds.png'
        jobs.append(LabelJob(source, target, CITYSCAPES_TO_TRAIN, image))
    return jobs


def measure(function, items) -> float:
    """Calls a minute."""
    start = time.perf_counter()
    for item in items:
        function(item)
    return 60 * len(items) / (time.perf_counter() - start)


def main() -> None:
    """Measure in one process, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--pairs', type=int, default=30)
    args = parser.parse_args()
    load = [
        TRANSFORMS.build(dict(type=kind), default_args=dict(_scope_='mmseg'))
        for kind in ('LoadImageFromFile', 'LoadAnnotations')
    ]

    def load_pair(job: LabelJob) -> None:
        results = dict(img_path=str(job.image), seg_map_path=str(job.target), seg_fields=[])
        results.update(reduce_zero_label=False, label_map=None)
        for step in load:
            results = step(results)

    with tempfile.TemporaryDirectory() as folder:
        jobs = make_pairs(Path(folder), args.pairs)
        size = np.mean([job.image.stat().st_size for job in jobs]) / 1e6
        print(f'{len(jobs)} pairs of 2048 x 1024, {size:.1f} MB an image; a minute and process:')
        print(f'convert labels   {measure(LabelJob.run, jobs):7.0f}')
        pairs = [Pair(job.image, job.target, reader_of_values(19)) for job in jobs]
        print(f'check            {measure(check_pair, pairs):7.0f}')
        print(f'load, by mmseg   {measure(load_pair, jobs):7.0f}')


if __name__ == '__main__':
    main()
