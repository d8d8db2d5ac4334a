"""Memory and time of averaging many checkpoints, against reading all of them at once.

Usage: ``python benchmarks/average_memory.py --files 20 --megabytes 1200 --folder /tmp/average``
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path

import torch

from soma.checkpoints import average_files
from soma.io.checkpoint_files import read_state_dict, write_checkpoint


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--files', type=int, default=8)
    parser.add_argument('--megabytes', type=int, default=200, help='of each file')
    parser.add_argument('--folder', type=Path, required=True, help='for the files; has space')
    return parser.parse_args()


def ours(files: list[Path], out: Path) -> None:
    """Average them with this package."""
    average_files(files, out, cpu_only=True)


def all_at_once(files: list[Path], out: Path) -> None:
    """Average them the short way."""
    states = [read_state_dict(file) for file in files]
    mean = {name: sum(state[name] for state in states) / len(states) for name in states[0]}
    write_checkpoint({'state_dict': mean}, out)


def measure(name: str, files: list[Path], out: Path, results) -> None:
    """Run one of the two in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.time()
    globals()[name](files, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    results.put((peak * 1024, time.time() - start))


def main() -> None:
    """Make files, measure, print."""
    args = parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    layers = {f'blocks.{i}.weight': torch.randn(args.megabytes, 2500) for i in range(100)}
    files = [args.folder / f'{index}.pth' for index in range(args.files)]
    for file in files:
        write_checkpoint({'state_dict': layers}, file)
    size = files[0].stat().st_size
    context = multiprocessing.get_context('spawn')
    for name in ('ours', 'all_at_once'):
        if name == 'all_at_once' and args.files * size > 16e9:
            print(f'{name}: left out, {args.files * size / 1e9:.0f} GB')
            continue
        results = context.Queue()
        process = context.Process(
            target=measure, args=(name, files, args.folder / 'out.pth', results)
        )
        process.start()
        peak, seconds = results.get()
        process.join()
        row = {'what': name, 'files': args.files, 'file_mb': round(size / 1e6)}
        row |= {'peak_in_files': round(peak / size, 2), 'seconds': round(seconds, 1)}
        print(json.dumps(row))


if __name__ == '__main__':
    main()
