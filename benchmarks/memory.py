"""What the options that save memory save and cost: training of ViT-L with Mask2Former."""

from __future__ import annotations

from common import main

from soma.engine.speed import Settings, measure_speed
from soma.utils.config import REPOSITORY

OPTIONS = {
    'as it is': {},
    'with_cp': {'model.backbone.with_cp': True},
    "base_dtype='bfloat16'": {'model.backbone.base_dtype': 'bfloat16'},
    'accumulative_counts=2': {'optim_wrapper.accumulative_counts': 2},
    '--amp': {'amp': True},
    "--amp, base_dtype='bfloat16', with_cp": {
        'amp': True,
        'model.backbone.with_cp': True,
        'model.backbone.base_dtype': 'bfloat16',
    },
}


def measure(arch: str = 'L', batch_size: int = 1, iterations: int = 2) -> list[dict]:
    """Train with each option in a process of its own, on synthetic images of 512 x 512.

    Args:
        arch: Of DINOv2.
        batch_size: Images a step.
        iterations: Steps that are timed, after one that is not.

    Returns:
        A row an option.
    """
    config = REPOSITORY / f'configs/soma/soma_dinov2-{arch}_mask2former_gta2cbm_512x512.py'
    rows = []
    for name, options in OPTIONS.items():
        settings = Settings(
            config,
            batch_size=batch_size,
            iterations=iterations,
            warmup=1,
            amp=options.get('amp', False),
            options={key: value for key, value in options.items() if key != 'amp'},
        )
        found = measure_speed(settings, ['train'])['phases']['train']
        rows.append(
            {
                'options': name,
                'arch': arch,
                'batch': batch_size,
                'seconds': round(found['seconds_per_iteration']['median'], 2),
                'peak_mb': round(found['peak_memory_mb']),
                'of': found['memory_of'],
            }
        )
    for row in rows:
        row['time'] = round(row['seconds'] / rows[0]['seconds'], 2)
        row['memory'] = round(row['peak_mb'] / rows[0]['peak_mb'], 2)
    return rows


if __name__ == '__main__':
    main(measure, 'Options that save memory')
