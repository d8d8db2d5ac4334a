"""What a process holds of a training, and how long a step takes, by the number of processes.

On CPUs the processes share the cores: the seconds are those of more work, not of more machines.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import torch
import torch.distributed.fsdp  # here, so that it is not measured
from common import main
from large_model import private_mb
from torch import nn

from soma.adapters.sharded import local
from soma.engine.distributed import shard
from soma.models import TimmVisionTransformer

MODEL = 'vit_small_patch16_224'
TRAINED = {'SoMA': dict(type='SoMA', rank=16), 'all': None}


def measure(
    processes: Sequence[int] = (1, 2), size: int = 224, steps: int = 3, **model_args: int
) -> list[dict]:
    """Train a backbone on noise, not sharded in one process and sharded in several.

    Args:
        processes: Their numbers.
        size: Side of the one image of each process.
        steps: Those that are timed, after one that is not.
        **model_args: Other sizes of the network, such as its ``depth``.

    Returns:
        A row for what trains, the storage of the rest, and the number of processes.
    """
    context, rows = get_context('fork'), []
    for trained, dtype, count in itertools.product(TRAINED, ('float32', 'bfloat16'), processes):
        if trained == 'all' and dtype == 'bfloat16':  # only what is frozen is stored so
            continue
        with TemporaryDirectory() as folder, ProcessPoolExecutor(count, context) as group:
            arguments = (count, folder, trained, dtype, size, steps, model_args)
            ranks = [group.submit(_train, rank, *arguments) for rank in range(count)]
            held = [rank.result() for rank in ranks]
        parts = {name: max(row[name] for row in held) for name in held[0]}
        rows.append(dict(trained=trained, dtype=dtype, processes=count, **parts))
    return rows


def _train(
    rank: int,
    count: int,
    folder: str,
    trained: str,
    dtype: str,
    size: int,
    steps: int,
    model_args: dict,
) -> dict:
    """Train in this process; what it holds."""
    options = dict(rank=rank, world_size=count, timeout=timedelta(minutes=5))
    torch.distributed.init_process_group('gloo', f'file://{folder}/store', **options)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = private_mb()
    model = TimmVisionTransformer(
        MODEL,
        img_size=size,
        out_indices=[model_args.get('depth', 12) - 1],
        pyramid=[1],
        base_dtype=dtype,
        adapter=TRAINED[trained],
        model_args=model_args,
    )
    model.init_weights()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    if count > 1:
        shard(model, [optimizer])
    seconds = [_step(model, optimizer, size) for _ in range(steps + 1)][1:]
    states = [v for state in optimizer.state.values() for v in state.values()]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    tensors = dict(parameters=model.parameters(), buffers=model.buffers(), gradients=grads)
    held = {f'{name}_mb': _mb(part) for name, part in {**tensors, 'optimizer': states}.items()}
    held |= {'private_mb': round(private_mb() - before), 'seconds': _median(seconds)}
    torch.distributed.destroy_process_group()
    return held


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, size: int) -> float:
    start = time.perf_counter()
    optimizer.zero_grad()
    model(torch.randn(1, 3, size, size))[0].square().mean().backward()
    optimizer.step()
    return time.perf_counter() - start


def _median(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds), 2)


def _mb(tensors: Sequence[torch.Tensor]) -> float:
    return round(sum(local(tensor).nbytes for tensor in tensors) / 2**20, 1)


if __name__ == '__main__':
    main(measure, 'What a process holds, sharded')
