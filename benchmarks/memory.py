"""What the options that save memory save and cost: training of ViT-L with Mask2Former."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import main

from soma.utils.config import REPOSITORY

OPTIONS = {
    'as it is': [],
    'with_cp': ['--cfg-options', 'model.backbone.with_cp=True'],
    "base_dtype='bfloat16'": ['--cfg-options', 'model.backbone.base_dtype=bfloat16'],
    'accumulative_counts=2': ['--cfg-options', 'optim_wrapper.accumulative_counts=2'],
    '--amp': ['--amp'],
    "--amp, base_dtype='bfloat16', with_cp": [
        *('--amp', '--cfg-options'),
        *('model.backbone.with_cp=True', 'model.backbone.base_dtype=bfloat16'),
    ],
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
        speed = _train_speed(config, batch_size, iterations, options)
        rows.append(
            {
                'options': name,
                'arch': arch,
                'batch': batch_size,
                'seconds': round(speed['seconds_per_iteration']['median'], 2),
                'peak_mb': round(speed['peak_memory_mb']),
                'of': speed['memory_of'],
            }
        )
    for row in rows:
        row['time'] = round(row['seconds'] / rows[0]['seconds'], 2)
        row['memory'] = round(row['peak_mb'] / rows[0]['peak_mb'], 2)
    return rows


def _train_speed(config: Path, batch_size: int, iterations: int, options: list[str]) -> dict:
    """Speed and memory of a training, as the script that measures configs writes them."""
    script = REPOSITORY / 'tools/analysis_tools/benchmark.py'
    numbers = ['--batch-size', str(batch_size), '--iters', str(iterations), '--warmup', '1']
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, 'speed.json')
        files = [sys.executable, str(script), str(config), '--out', str(out)]
        subprocess.run([*files, '--phase', 'train', *numbers, *options], check=True)
        return json.loads(out.read_text())['phases']['train']


if __name__ == '__main__':
    main(measure, 'Options that save memory')
