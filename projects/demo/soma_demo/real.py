"""The demo on real streets: DINOv2-S, trained on CamVid by day."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from soma.datasets.prepare.check import check_config
from soma.datasets.prepare.convert import REPORT, convert_dataset
from soma.io.files import InputError, atomic_path, read_json
from soma.io.public import fetch_dataset, fetch_weights, named_weights
from soma.models.build import build_model
from soma.utils.config import REPOSITORY, each_dataset, load_config

from .demo import Demo

REAL = Demo(
    configs={
        method: REPOSITORY / f'configs/camvid/{method}_dinov2-S_linear_camvid-day2dusk_364x476.py'
        for method in ('frozen', 'soma', 'full')
    },
    title='mIoU in percent; the training saw other drives, by day',
    seconds=dict(train=360, test=130),
    panel=('dusk', 'day2'),
    folder='demo_real',
)
_WEIGHTS = 'dinov2_vits14'
# Public name of each input, what fetches it, and the folder that it goes to.
_INPUTS = {
    'weights': (_WEIGHTS, fetch_weights, 'checkpoints'),
    'data': ('camvid', fetch_dataset, 'data'),
}


def weights_file(path: str) -> Path:
    """The file of weights that a path means: of a folder, the public one in it."""
    place = Path(path).expanduser()
    return place / named_weights(_WEIGHTS).file if place.is_dir() else place


def missing_inputs(weights: Path | None, data: Path | None) -> list[str]:
    """Download what is neither named nor there.

    Args:
        weights: File of the pretrained weights; None for the public one in ``checkpoints``.
        data: Folder of CamVid; None for ``data/camvid``.

    Returns:
        A line on each that cannot be had: what it is, from where, and how to go on.
    """
    lines = []
    for option, path in {'weights': weights, 'data': data}.items():
        name, fetch, folder = _INPUTS[option]
        try:
            if path is None:
                fetch(name, REPOSITORY / folder)
            elif not path.exists():
                raise InputError(f'{path} does not exist: leave it out to have it downloaded')
        except InputError as error:
            lines.append(
                f'{name} is missing: {error} (with a network: python tools/download.py {name}), '
                f'or say where it is: --{option} PATH, make demo-real {option.upper()}=PATH'
            )
    return lines


def on_inputs(demo: Demo, weights: Path | None, data: Path | None, work_dir: Path) -> Demo:
    """Convert the labels unless they are, make sure that all can be read.

    Args:
        demo: The demo on the public weights in ``checkpoints`` and on ``data/camvid``.
        weights: As for :func:`missing_inputs`.
        data: As there.
        work_dir: Folder for configs that name them.

    Returns:
        The demo on these inputs.

    Raises:
        FileNotFoundError: If the folder holds no labels of CamVid.
        InputError: If a file of it is missing or damaged.
        CheckpointError: If the weights are those of another network.
    """
    if weights or data:
        named = {}
        for method, file in demo.configs.items():
            named[method] = work_dir.resolve() / 'configs' / file.name
            _write_config(file, weights, data, named[method])
        demo = replace(demo, configs=named)
    config = load_config(next(iter(demo.configs.values())))
    build_model(config).backbone.init_weights()
    _convert(data or REPOSITORY / 'data' / 'camvid')
    config.val_dataloader = None  # the trainings do not validate
    parts = check_config(config, len(os.sched_getaffinity(0)))
    if faults := [fault for part in parts for fault in part.faults if fault.breaks]:
        more = f', and {len(faults) - 1} more' if faults[1:] else ''
        hint = 'python tools/download.py camvid fetches all of CamVid'
        raise InputError(f'{faults[0].file}: {faults[0].text}{more}; {hint}')
    print(', '.join(f'{part.name}: {len(part.pairs)} images' for part in parts))
    return demo


def _write_config(file: Path, weights: Path | None, data: Path | None, target: Path) -> None:
    """Write a config that reads other inputs; on a command line a path loses its spaces."""
    config = load_config(file)
    if weights:
        config.model.backbone.init_cfg.checkpoint = str(weights.resolve())
    for loader in ('train_dataloader', 'test_dataloader') if data else ():
        for _, dataset in each_dataset(config[loader].dataset, loader):
            dataset.data_root = str(data.resolve())
    with atomic_path(target) as temporary:
        config.dump(temporary)


def _convert(folder: Path) -> None:
    """Convert the labels, unless an earlier conversion has come to its end without a failure."""
    report, keys = folder / REPORT, {'failures': dict}
    if report.exists() and not read_json(report, 'report of a conversion', keys)['failures']:
        return
    failures = convert_dataset('camvid', folder, nproc=len(os.sched_getaffinity(0))).failures
    for path, reason in failures.items():
        raise InputError(f'{path} {reason}')
