"""A made-up study."""

import pytest

from soma.study.plan import UNSEEN, Study


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path, methods=('frozen', 'soma'))


@pytest.fixture
def results():
    """Two methods, two sources and three seeds; SoMA is better but on the source."""
    moved = dict(change=0.05, principal=0.1, minor=0.6, between=0.2, outside=0.1)
    return [
        {
            'method': method,
            'source': source,
            'seed': seed,
            'mIoU': {name: (30.0 if method == 'soma' else 20.0) + seed for name in UNSEEN}
            | {
                'unseen': (30.0 if method == 'soma' else 20.0) + seed,
                'source': (39.0 if method == 'soma' else 49.0) + seed,
            },
            'trained': {'backbone': 1200 if method == 'soma' else 0, 'head': 34000},
            'shared_bytes': {'backbone': 4800 if method == 'soma' else 0, 'head': 136000},
            'drift': moved if method == 'soma' else dict.fromkeys(moved, 0.0),
            'cost': {'seconds': 80.0, 'train_seconds': 60.0 + seed, 'peak_mb': 900.0},
        }
        for method in ('frozen', 'soma')
        for source in ('gta', 'synthia')
        for seed in (0, 1, 2)
    ]
