import pytest
import torch

from soma.adapters import low_rank_product, split_components


def part_by_svd(weight, rank, component):
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    index = slice(len(s) - rank, None) if component == 'minor' else slice(rank)
    return (u[:, index] * s[index]) @ v[index]


@pytest.mark.parametrize('component', ['minor', 'principal'])
@pytest.mark.parametrize('shape', [(24, 24), (48, 16), (16, 48)])
def test_product_equals_the_part_of_a_float64_svd(shape, component):
    weight = torch.randn(shape)
    parts = split_components(weight, 4, component)
    assert parts.A.shape == (4, shape[1]) and parts.B.shape == (shape[0], 4)
    expected = part_by_svd(weight, 4, component)
    error = (low_rank_product(*parts).double() - expected).norm() / expected.norm()
    assert error < 1e-6


def test_factors_are_balanced_and_sorted_into_minor_and_rest():
    weight = torch.randn(20, 12, dtype=torch.float64)
    a, b = split_components(weight, 12)
    assert torch.allclose(b @ a, weight)
    assert torch.allclose(a.norm(dim=1), b.norm(dim=0))
    minor = split_components(weight, 3)
    smallest = torch.linalg.svdvals(weight)[-3:]
    assert torch.allclose(minor.A.norm(dim=1).square().sort(descending=True)[0], smallest)


def test_groups_are_split_one_by_one():
    weight = torch.randn(36, 12)
    a, b = split_components(weight, 3, groups=3)
    assert a.shape == (9, 12) and b.shape == (36, 3)
    for index, part in enumerate(weight.chunk(3)):
        expected = part_by_svd(part, 3, 'minor')
        rows = slice(12 * index, 12 * index + 12)
        assert torch.allclose(low_rank_product(a, b, 3)[rows].double(), expected, atol=1e-6)


def test_random_takes_components_of_the_weight():
    weight = torch.randn(16, 16, dtype=torch.float64)
    a, b = split_components(weight, 5, 'random')
    values = torch.linalg.svdvals(weight)
    for value in torch.linalg.svdvals(b @ a)[:5]:
        assert (values - value).abs().min() < 1e-10


def test_singular_weight_gives_finite_factors():
    weight = torch.randn(16, 3) @ torch.randn(3, 16)
    a, b = split_components(weight, 4)
    assert torch.isfinite(a).all() and torch.isfinite(b).all()
    assert (b @ a).abs().max() < 1e-5
    zero = split_components(torch.zeros(8, 8), 2)
    assert not zero.A.any() and not zero.B.any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((torch.randn(4, 4, 3, 3), 2), 'needs a matrix'),
        ((torch.randn(8, 8), 0), 'rank 0 is out of range'),
        ((torch.randn(8, 8), 9), 'choose 1 to 8'),
        ((torch.randn(8, 8), 2, 'middle'), "got 'middle'"),
        ((torch.randn(8, 8), 2, 'minor', 3), '3 groups do not divide'),
        ((torch.full((8, 8), float('nan')), 2), 'NaN or infinity'),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_components(*arguments)
