"""A training step and a test of the same network with SemFPN, Mask2Former and EoMT."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from common import build, main, streets, take_turns
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from training_step import make_step

from soma.engine import TrainableEMAHook
from soma.utils.config import REPOSITORY, load_config

HEADS = ('mask2former', 'semfpn', 'eomt')
NAMES = {'small': 'S', 'base': 'B', 'large': 'L'}


def read(arch: str, head: str) -> Config:
    """The config of SoMA on GTA with a head, of random weights."""
    folder = 'eomt' if head == 'eomt' else 'soma'
    config = load_config(REPOSITORY / f'configs/{folder}/soma_dinov2-L_{head}_gta2cbm_512x512.py')
    if arch != 'large':
        base = f'configs/_base_/models/dinov2-{NAMES[arch]}_{head}.py'
        model = load_config(REPOSITORY / base).model
        model.backbone.adapter = {**config.model.backbone.adapter, 'start_block': 4}
        config.model = model
    config.model.backbone.init_cfg = None  # random weights take as long
    config.model.test_cfg = dict(mode='whole')
    return config


def tester(config: Config, size: int) -> Callable[[], None]:
    """A function that segments an image."""
    model = build(config).eval()
    images, samples = streets(1, size)

    def test() -> None:
        with torch.inference_mode():
            model.predict(images, [sample.clone() for sample in samples])

    return test


def stepper(config: Config, size: int) -> Callable[[], None]:
    """A function that trains for one step of one image."""
    model = build(config)
    optimizer = build_optim_wrapper(model, config.optim_wrapper).optimizer
    return make_step(model, TrainableEMAHook(), optimizer, 1, size)


def measure(
    archs: Sequence[str] = ('small', 'base', 'large'),
    sizes: Sequence[int] = (512, 1024),
    repeats: int = 3,
) -> list[dict]:
    """Time all heads, in turns.

    Args:
        archs: Of DINOv2.
        sizes: Sides of images; all but the first for the first arch only.
        repeats: Number of rounds.
    """
    rows = []
    for arch, size in [(arch, sizes[0]) for arch in archs] + [(archs[0], s) for s in sizes[1:]]:
        configs = {head: read(arch, head) for head in HEADS}
        tests = take_turns({h: tester(config, size) for h, config in configs.items()}, repeats)
        steps = take_turns({h: stepper(config, size) for h, config in configs.items()}, repeats)
        for head in HEADS:
            rows.append(
                {
                    'arch': NAMES[arch],
                    'image': size,
                    'head': head,
                    'test_s': round(tests[head], 3),
                    'test_speed': round(tests['mask2former'] / tests[head], 2),
                    'step_s': round(steps[head], 3),
                    'step_speed': round(steps['mask2former'] / steps[head], 2),
                }
            )
    return rows


if __name__ == '__main__':
    main(measure, 'Heads of SoMA, one image; speed against Mask2Former')
