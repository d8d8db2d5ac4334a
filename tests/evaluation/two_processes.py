"""Metrics in two processes, as in a distributed test."""

import pickle

from mmengine.dataset import DefaultSampler
from processes import in_group

import soma.evaluation.domain_metric


def evaluate_in_two(build, images, folder):
    """Score images that two processes share, one or three at a time, in shards as they are.

    Args:
        build: Function from the name of a case to a metric.
        images: The dataset.
        folder: For files.

    Returns:
        For each process, for each case: how many images it took, the metrics, the report, and
        what was logged.
    """
    in_group(_evaluate, folder, build, images, folder)
    return [pickle.loads((folder / f'{rank}.pkl').read_bytes()) for rank in range(2)]


def _evaluate(rank, build, images, folder):
    logged, results = [], []
    soma.evaluation.domain_metric.print_log = lambda text, **_: logged.append(text)
    for batch_size, round_up in ((1, True), (3, True), (1, False)):
        metric = build(f'{batch_size}_{round_up}')
        shard = list(DefaultSampler(images, shuffle=False, round_up=round_up))
        for start in range(0, len(shard), batch_size):
            metric.process({}, [images[index] for index in shard[start : start + batch_size]])
        results.append((len(shard), metric.evaluate(len(images)), metric.report, [*logged]))
    (folder / f'{rank}.pkl').write_bytes(pickle.dumps(results))
