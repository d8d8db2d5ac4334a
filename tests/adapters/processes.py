"""Functions that run in two processes at the same time."""

from datetime import timedelta
from multiprocessing import get_context

import torch


def fork_two(function, *arguments):
    """Call a function with the rank and the arguments in two processes; their exit codes."""
    context = get_context('fork')  # which saves the imports
    processes = [context.Process(target=function, args=(rank, *arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def in_group(function, folder, *arguments):
    """The same for two that form a group (gloo), which meets in a folder; both must succeed."""
    assert fork_two(_join, function, folder, arguments) == [0, 0]


def _join(rank, function, folder, arguments):
    options = dict(rank=rank, world_size=2, timeout=timedelta(minutes=1))
    torch.distributed.init_process_group('gloo', f'file://{folder}/store', **options)
    function(rank, *arguments)
    torch.distributed.destroy_process_group()
