"""Size of every kind of checkpoint of SoMA on ViT-L with Mask2Former, and the time to make it.

One iteration on random weights and images; sizes do not depend on them. Takes some minutes on a
CPU, 16 GB of memory and 16 GB of disk.

Usage: ``python benchmarks/checkpoint_sizes.py --folder /tmp/sizes``
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import RUNNERS
from PIL import Image
from rich.console import Console
from rich.table import Table

from soma.checkpoints import convert_dinov2_file, export_peft, extract_adapter, merge_files
from soma.io.checkpoint_files import write_checkpoint
from soma.models import DINOv2
from soma.utils.config import REPOSITORY, load_config

CONFIG = REPOSITORY / 'configs/soma/soma_dinov2-L_mask2former_gta2cbm_512x512.py'
AS_RELEASED = {
    'default_hooks.checkpoint.type': 'CheckpointHook',
    'custom_hooks': [dict(type='BlockFreezeHook'), dict(type='EMAHook')],
}


def make_inputs(folder: Path) -> Path:
    """Make random pretrained weights in the public format, and one street; convert the weights."""
    model = DINOv2('large', img_size=518, patch_size=14)
    state = {**model.state_dict(), 'mask_token': torch.zeros(1, 1024)}
    write_checkpoint(state, folder / 'dinov2_vitl14_pretrain.pth')
    convert_dinov2_file(
        folder / 'dinov2_vitl14_pretrain.pth', folder / 'converted.pth', (512, 512), 16
    )
    rng = np.random.default_rng(0)
    for name, values in (
        ('images/0.png', rng.integers(0, 256, (1052, 1914, 3), np.uint8)),
        ('labels/0_labelTrainIds.png', rng.integers(0, 19, (1052, 1914), np.uint8)),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(folder / name)
    return folder / 'converted.pth'


def train(folder: Path, name: str, converted: Path, options: dict) -> Path:
    """Train for one iteration; its checkpoint."""
    config = load_config(CONFIG, options)
    config.work_dir = str(folder / name)
    config.model.backbone.init_cfg.checkpoint = str(converted)
    config.train_dataloader.update(batch_size=1, num_workers=0, persistent_workers=False)
    config.train_dataloader.dataset.data_root = str(folder)
    config.train_cfg.max_iters = 1
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.default_hooks.checkpoint.pop('save_best')
    RUNNERS.build(config).train()
    return folder / name / 'iter_1.pth'


def main() -> None:
    """Make every file, print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--folder', type=Path, required=True, help='for the files; has space')
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    rows = []

    def note(what: str, path: Path, start: float | None = None) -> Path:
        files = path.iterdir() if path.is_dir() else [path]
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        seconds = None if start is None else round(time.time() - start, 1)
        rows.append({'file': what, 'MB': round(megabytes, 1), 's': seconds})
        return path

    converted = make_inputs(folder)
    note('published', folder / 'dinov2_vitl14_pretrain.pth')
    note('converted', converted)
    note('training, as released', train(folder, 'full', converted, AS_RELEASED))
    final = note('training, ours', train(folder, 'ours', converted, {}))
    start = time.time()
    extract_adapter(final, folder / 'adapter.safetensors')
    adapter = note('adapter', folder / 'adapter.safetensors', start)
    start = time.time()
    merge_files(converted, adapter, folder / 'merged.safetensors')
    note('merged', folder / 'merged.safetensors', start)
    start = time.time()
    merge_files(converted, adapter, folder / 'kept.safetensors', keep_adapter=True)
    note('unfolded', folder / 'kept.safetensors', start)
    start = time.time()
    export_peft(adapter, folder / 'peft', converted)
    note('peft', folder / 'peft', start)

    table = Table('file', 'MB', 's', title='ViT-L, Mask2Former, rank 16 in blocks 8 to 23')
    for row in rows:
        print(json.dumps(row))
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == '__main__':
    main()
