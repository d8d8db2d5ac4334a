import itertools

import pytest
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import ConcatDataset


def sampler(sizes=(5, 50), ratio=(3, 1), **options):
    dataset = ConcatDataset([range(size) for size in sizes])
    options = dict(type='RatioSampler', ratio=ratio, seed=0, dataset=dataset, **options)
    return DATA_SAMPLERS.build(options)


def test_ratio_sampler_draws_by_ratio_and_goes_through_each_part():
    drawn = list(itertools.islice(sampler(), 4000))
    first = [index for index in drawn if index < 5]
    assert 0.72 < len(first) / 4000 < 0.78
    assert set(drawn) == set(range(55))
    assert all(set(first[i : i + 5]) == set(range(5)) for i in range(0, len(first) - 5, 5))
    assert list(itertools.islice(sampler(), 100)) == drawn[:100]
    assert list(itertools.islice(sampler(shuffle=False), 100)) != drawn[:100]


def test_ratio_sampler_skips_as_mmengine_asks():
    whole = list(itertools.islice(sampler(), 60))
    rest = sampler()
    rest.skip(40)
    assert list(itertools.islice(rest, 20)) == whole[40:]


def test_ratio_sampler_refuses_what_makes_no_sense():
    for ratio in ((1,), (1, 0), (1, -2), '12', 2, ('1', '2')):
        with pytest.raises(ValueError, match='2 numbers above 0'):
            sampler(ratio=ratio)
    with pytest.raises(TypeError, match='ConcatDataset, got a range'):
        DATA_SAMPLERS.build(dict(type='RatioSampler', ratio=[1], dataset=range(3)))
