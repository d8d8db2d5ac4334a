import pytest
import torch

from soma.adapters import low_rank_product, split_components, svd


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


def with_values(values, rows=256):
    """A float64 matrix with these singular values."""
    left = torch.linalg.qr(torch.randn(rows, len(values), dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    return (left * values) @ right


def count_svds(monkeypatch):
    calls, whole = [], torch.linalg.svd
    monkeypatch.setattr(
        torch.linalg, 'svd', lambda *a, **k: calls.append(a[0].shape) or whole(*a, **k)
    )
    return calls


SPREAD = torch.logspace(0, -3, 256, dtype=torch.float64)


@pytest.mark.parametrize('component', ['minor', 'principal'])
@pytest.mark.parametrize(
    'weight',
    [
        torch.randn(256, 256),
        torch.randn(512, 256),
        torch.randn(256, 512),
        with_values(SPREAD),
        with_values(torch.cat([SPREAD[:253], torch.zeros(3)])),
        with_values(torch.cat([SPREAD[:2].repeat(2), SPREAD[4:252], SPREAD[-2:].repeat(2)])),
    ],
    ids=['square', 'tall', 'wide', 'spread', 'singular', 'repeated'],
)
def test_iteration_gives_the_part_without_a_whole_svd(weight, component, monkeypatch):
    expected = part_by_svd(weight, 4, component)
    calls = count_svds(monkeypatch)
    parts = split_components(weight, 4, component)
    error = (low_rank_product(*parts).double() - expected).norm() / expected.norm()
    assert error < 1e-6 and not calls


@pytest.mark.parametrize(
    ('values', 'tolerance'),
    [
        (torch.cat([SPREAD[:250], SPREAD[-1:].repeat(6)]), 1e-6),  # any two of the six will do
        (torch.cat([SPREAD[:-5], SPREAD[-5:] * 1e-5]), 1e-6),  # lost in the Gram matrix
        (torch.cat([SPREAD[:-6], torch.zeros(6)]), 1e-6),
        (torch.zeros(256), 1e-6),
        (torch.ones(256), 1e-6),
    ],
    ids=['cut through equals', 'ill-conditioned', 'zero', 'all zero', 'all equal'],
)
def test_what_the_iteration_cannot_prove_goes_to_the_svd(values, tolerance, monkeypatch):
    weight = with_values(values)
    smallest = torch.linalg.svdvals(weight)[-4:]
    calls = count_svds(monkeypatch)
    a, b = split_components(weight, 4)
    assert calls == [(256, 256)]
    found = torch.linalg.svdvals(b @ a)[:4]
    assert torch.allclose(found, smallest, rtol=tolerance, atol=1e-12)
    # What is left has the other values: the part was cut out along singular vectors.
    rest = torch.linalg.svdvals(weight - b @ a)[:252]
    assert torch.allclose(rest, torch.linalg.svdvals(weight)[:252], rtol=tolerance, atol=1e-12)


def test_overlooked_vectors_are_noticed(monkeypatch):
    weight = with_values(SPREAD)
    start = torch.linalg.svd(weight).Vh[:-1].T  # all but the smallest
    monkeypatch.setattr(torch, 'randn', lambda n, k, **_: start[:, -k:].clone())
    monkeypatch.setattr(
        torch.linalg, 'lu_solve', lambda lu, pivots, x: start[:, -x.shape[1] :].clone()
    )
    assert svd._extreme_vectors(weight, 4, smallest=True) is None


def test_equal_weights_give_equal_bits_whatever_was_drawn():
    weight = torch.randn(256, 256)
    first = split_components(weight, 4)
    torch.randn(3)
    state = torch.get_rng_state()
    assert all(map(torch.equal, split_components(weight, 4), first))
    assert torch.equal(torch.get_rng_state(), state)


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
