"""The demos on toy streets, which need no download."""

from __future__ import annotations

import os
from pathlib import Path

from soma.utils.config import REPOSITORY

from .demo import Demo, Step, script

_PROJECT = 'projects/toy_streets'


def _configs(name: str, *methods: str) -> dict[str, Path]:
    return {m: REPOSITORY / _PROJECT / 'configs' / f'{m}_dinov2-toy_{name}.py' for m in methods}


def _steps(
    data: str, images: tuple[int, int], *options: str, convert: tuple[str, ...] = ()
) -> tuple[Step, ...]:
    """What makes the data and fits the shipped model to them.

    Args:
        data: Folder of the toy streets.
        images: Number of them to train on, and to test on in each domain.
        *options: Further ones of the script that makes them.
        convert: Datasets whose labels are converted.
    """
    streets = 'Make toy streets'
    counts = ('--images', str(images[0]), '--val-images', str(images[1]))
    nproc = ('--nproc', str(len(os.sched_getaffinity(0))))
    make = script(f'{_PROJECT}/make_toy_streets.py', data, *counts, *nproc, *options)
    # The toy configs have patches of 16 pixels and images of 256 x 256.
    fit = script(
        'tools/convert_models/convert_dinov2.py',
        str(REPOSITORY / _PROJECT / 'dinov2_toy14_pretrain.safetensors'),
        'checkpoints/dinov2_toy_converted.pth',
        *('--height', '256', '--width', '256', '--patch-size', '16'),
    )
    return (
        Step(streets, 'streets', make),
        *(
            Step(
                f'Convert the labels of {name} to train ids',
                'convert',
                script(f'tools/convert_datasets/{name}.py', f'{data}/{name}'),
                (streets,),
            )
            for name in convert
        ),
        Step('Convert the toy foundation model', 'convert', fit),
    )


SEGMENTATION = Demo(
    configs=_configs('semfpn_gta2all_256x256', 'soma', 'frozen', 'full'),
    title='mIoU in percent on toy domains that the training on GTA never saw',
    seconds=dict(streets=25, convert=8, train=120, test=25),
    panel=('citys', 'fog', 'night', 'snow'),
    folder='demo',
    readme=('citys', 'fog', 'night'),
    steps=_steps(
        *('data/toy', (300, 12), '--sources', 'gta'), convert=('gta', 'cityscapes', 'mapillary')
    ),
)
DETECTION = Demo(
    configs=_configs('dino_dc2all_512x256', 'soma', 'frozen'),
    title='mAP in percent; the training saw clear daytime (DC), the mean is that of the others',
    seconds=dict(streets=30, convert=8, train=180, test=30),
    panel=('DC', 'NC', 'DR', 'NR', 'DF'),
    folder='demo_det',
    readme=('NC', 'NR', 'DF'),
    steps=_steps(
        'data/toy_weather', (500, 20), '--sources', 'daytime_clear', '--task', 'detection'
    ),
)
