"""What a ViT of 7 billion parameters needs to start, measured on twins of a few of its blocks.

A twin has the full width and is filled from one file a block. Each way runs in a process of its
own; what counts is its private memory, without the pages of files that the system may drop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save_file

import soma.models  # noqa: F401, registers
from soma.models import TimmVisionTransformer
from soma.models.backbones.timm_network import create_network
from soma.utils.machine import machine

MODEL = 'vit_7b_patch16_dinov3'
BLOCKS = 40  # of the whole network
SOMA = dict(type='SoMA', rank=16)


def write_parts(folder: Path, model_name: str, options: dict) -> Path:
    """Write random weights of a network in float32, one file a block; returns their index."""
    network = create_network(model_name, options, on_meta=True)
    places, parts = {}, {}
    for name in network.state_dict():
        number = name.split('.')[1] if name.startswith('blocks.') else 'rest'
        parts.setdefault(f'model-{number}.safetensors', []).append(name)
    for file, names in parts.items():
        tensors = {name: 0.02 * torch.randn(network.state_dict()[name].shape) for name in names}
        save_file(tensors, folder / file)
        places |= dict.fromkeys(names, file)
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'weight_map': places}))
    return index


def private_mb() -> float:
    """Private memory of this process in MB, without pages of files."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon')) / 1024


def peak_mb(function: Callable[[], object]) -> tuple[float, float, float]:
    """Highest and last private memory of a call above that before, in MB, and its seconds."""
    before, peak, done = private_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], private_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    kept = function()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    last = private_mb()
    del kept
    return max(peak[0], last) - before, last - before, seconds


def ours(index: Path, model_name: str, options: dict, adapter: dict | None) -> object:
    """The backbone of this package with its base in bfloat16."""
    backbone = TimmVisionTransformer(
        model_name,
        out_indices=[options['depth'] - 1],
        pyramid=[1],
        base_dtype='bfloat16',
        model_args=options,
        adapter=adapter,
        frozen_blocks=0 if adapter else options['depth'],
        init_cfg=dict(type='Pretrained', checkpoint=str(index)),
        split_cache=False,
    )
    backbone.init_weights()
    return backbone


def plain(index: Path, model_name: str, options: dict) -> object:
    """A network with random weights, a file read into it, and then bfloat16."""
    network = create_network(model_name, options)
    state = {}
    for file in {*json.loads(index.read_text())['weight_map'].values()}:
        state |= load(index.with_name(file).read_bytes())
    network.load_state_dict(state)
    return network.bfloat16()


WAYS = {
    'plain': plain,
    'frozen': lambda *model: ours(*model, None),
    'SoMA': lambda *model: ours(*model, SOMA),
}


def measure(
    depths: tuple[int, ...],
    ways: tuple[str, ...],
    model_name: str = MODEL,
    width: int | None = None,
) -> list[dict]:
    """One row a way and number of blocks.

    Args:
        depths: Numbers of blocks.
        ways: Of :data:`WAYS`.
        model_name: Of timm.
        width: Another width than that of the model, for a test.
    """
    rows = []
    for depth in depths:
        options = {'depth': depth, **({'embed_dim': width, 'num_heads': 2} if width else {})}
        with tempfile.TemporaryDirectory() as folder:
            index = write_parts(Path(folder), model_name, options)
            stored = sum(f.stat().st_size for f in Path(folder).glob('*.safetensors')) / 2**20
            for way in ways:
                job = json.dumps([way, str(index), model_name, options])
                command = [sys.executable, __file__, '--job', job]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                peak, last, seconds = json.loads(output.splitlines()[-1])
                row = dict(way=way, blocks=depth, file_mb=round(stored), peak_mb=round(peak))
                rows.append({**row, 'kept_mb': round(last), 'seconds': round(seconds, 1)})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, and extrapolate to all blocks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--depths', type=int, nargs=2, default=(1, 2), help='numbers of blocks')
    parser.add_argument('--ways', nargs='+', default=[*WAYS], choices=WAYS)
    parser.add_argument('--job', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        way, index, model_name, options = json.loads(args.job)
        print(json.dumps(peak_mb(lambda: WAYS[way](Path(index), model_name, options))))
        return
    rows = measure(tuple(args.depths), tuple(args.ways))
    print(json.dumps(machine()))
    for way in args.ways:
        few, more = (row for row in rows if row['way'] == way)
        for key in ('peak_mb', 'kept_mb', 'seconds'):
            block = (more[key] - few[key]) / (more['blocks'] - few['blocks'])
            all_blocks = few[key] + block * (BLOCKS - few['blocks'])
            print(f'{way}: {key} {block:.1f} a block, {all_blocks:.0f} for {BLOCKS} blocks')


if __name__ == '__main__':
    main()
