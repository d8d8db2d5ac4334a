"""CamVid as SegNet's authors have it: labels, and lists by drive, of which one is at dusk."""

from __future__ import annotations

from pathlib import Path

from ..labels import CAMVID_TO_TRAIN
from .convert_boxes import ListJob
from .convert_files import Job, LabelJob

SPLITS = ('train', 'val', 'test')
# What the images of a list start with: the split, and the drive in their names.
LISTS = {
    'day.txt': ('train/0006R0_', 'train/0016E5_'),
    'day_val.txt': ('val/0016E5_',),
    'day2.txt': ('test/Seq05VD_',),  # a drive that the others do not see
    'dusk.txt': ('train/0001TP_', 'test/0001TP_'),
}


def camvid_jobs(root: Path, out: Path) -> list[Job]:
    """Train ids, ``labels/{train,val,test}/*_labelTrainIds.png``, and the lists.

    Raises:
        FileNotFoundError: There are no labels.
    """
    images = [
        f'{split}/{path.stem}'
        for split in SPLITS
        for path in sorted((root / f'{split}annot').glob('[!.]*.png'))
    ]
    if not images:
        raise FileNotFoundError(f'expected labels in {root}/trainannot ..., found none')
    jobs: list[Job] = []
    for name in images:
        source = root / f'{name.replace("/", "annot/")}.png'
        target = out / 'labels' / f'{name}_labelTrainIds.png'
        jobs.append(LabelJob(source, target, CAMVID_TO_TRAIN, root / f'{name}.png'))
    for file, starts in LISTS.items():
        if names := [name for name in images if name.startswith(starts)]:
            jobs.append(ListJob(root, out / file, names))
    return jobs
