"""Spectra that are known by construction, and changes put where they are found."""

import numpy as np
import pytest
import torch
from dinov2_names import to_timm, to_transformers

import soma.adapters.split
from soma.checkpoints import drift, spectra, total_drift, weight_matrices
from soma.checkpoints.drift import Shares, matrix_drift, spectrum
from soma.checkpoints.matrices import unmatched
from soma.io.checkpoint_files import read_state_dict


def orthogonal(size):
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q


def matrix_of(values, rows, columns):
    """A matrix with these singular values, and its left and right vectors in columns."""
    left, right = orthogonal(rows), orthogonal(columns)
    count = len(values)
    diagonal = torch.tensor(values, dtype=torch.float64)
    return (left[:, :count] * diagonal) @ right[:, :count].T, left, right


@pytest.mark.parametrize('shape', [(8, 4), (4, 8), (4, 4)])
def test_a_known_spectrum(shape):
    matrix, _, _ = matrix_of([1.0, 4.0, 2.0, 2.0], *shape)
    found = spectrum(matrix, rank=2)
    assert found.shape == shape and found.values == pytest.approx([4, 2, 2, 1])
    assert found.energy == pytest.approx(25) and found.minor == pytest.approx(5 / 25)
    assert found.condition == pytest.approx(4)
    # entropy of 4/9, 2/9, 2/9, 1/9
    assert found.effective_rank == pytest.approx(9 / (4**4 * 2**2 * 2**2) ** (1 / 9))
    assert spectrum(matrix.float(), rank=100).minor == pytest.approx(1)


def test_spectra_at_the_limits():
    assert spectrum(3 * orthogonal(6)).effective_rank == pytest.approx(6)
    flat = spectrum(torch.ones(5, 3), rank=1)
    assert flat.effective_rank == pytest.approx(1) and flat.condition is None
    zero = spectrum(torch.zeros(5, 3))
    assert (zero.energy, zero.minor, zero.effective_rank, zero.condition) == (0, 0, 0, None)


@pytest.mark.parametrize(
    ('left', 'right', 'part'),
    [
        ([0, 1], [0, 1], 'principal'),
        ([2, 3], [2, 3], 'minor'),
        ([0, 1], [2, 3], 'between'),
        ([2, 3], [0, 1], 'between'),
        ([4, 7], [0, 3], 'outside'),
    ],
)
@pytest.mark.parametrize('transposed', [False, True])
def test_a_change_is_found_where_it_was_made(left, right, part, transposed):
    base, U, V = matrix_of([4.0, 3.0, 2.0, 1.0], 8, 4)
    change = 0.01 * U[:, left] @ torch.randn(2, 2, dtype=torch.float64) @ V[:, right].T
    trained = base + change
    if transposed:
        base, trained = base.T, trained.T
    found = matrix_drift(base, trained, rank=2)
    assert found.shares == pytest.approx(Shares()._replace(**{part: 1.0}), abs=1e-9)
    assert found.energy == pytest.approx(30)
    assert found.change == pytest.approx((change.norm() / base.norm()).item())
    turned = part in ('between', 'outside')  # else the subspaces stay
    assert (found.leading < 1 - 1e-7) == turned and found.leading > 0.99


def test_the_subspaces():
    base, U, V = matrix_of([4.0, 3.0, 2.0, 1.0], 4, 4)
    swapped = base + U[:, [0, 3]] @ torch.diag(torch.tensor([-4.0, 4.0]).double()) @ V[:, [0, 3]].T
    found = matrix_drift(base, swapped, rank=1)  # values 0, 3, 2, 5 of the same vectors
    assert found.shares == pytest.approx((0.5, 0.5, 0, 0), abs=1e-9)
    assert (found.leading, found.trailing) == pytest.approx((0, 0), abs=1e-9)
    assert matrix_drift(base, swapped, rank=4).leading == pytest.approx(1)
    again = matrix_drift(base, base.clone())
    assert (again.change, again.shares, again.leading, again.trailing) == (0, Shares(), 1, 1)


@pytest.mark.parametrize('shape', [(64, 64), (128, 32), (32, 128)])
def test_a_random_change_has_the_isotropic_shares(shape):
    base = torch.randn(shape)
    found = matrix_drift(base, base + 0.01 * torch.randn(shape))
    assert found.shares == pytest.approx(found.isotropic, abs=0.02)
    expected = (1, 1, 2, 0) if shape == (64, 64) else (0.25, 0.25, 0.5, 3)
    assert found.isotropic == pytest.approx([part / 4 for part in expected])


@pytest.mark.parametrize(
    ('left', 'right', 'principal', 'minor'),
    [
        ([0, 1], [0, 1], 1, 0),
        ([6, 7], [6, 7], 0, 1),
        ([0, 1], [6, 7], 0.5, 0.5),
        ([0, 4], [5, 7], 0.25, 0.25),
        ([3, 4], [3, 4], 0, 0),
    ],
)
def test_the_directions_of_a_change(left, right, principal, minor):
    base, U, V = matrix_of([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 16, 8)
    values = torch.tensor([3.0, 1.0]).double() / 100
    trained = base + U[:, left] * values @ V[:, right].T
    trained = trained.float()  # whose rounding is no direction
    found = matrix_drift(base.float(), trained, 2).learned
    assert found.rank == 2 and found.chance == pytest.approx((2 / 16 + 2 / 8) / 2)
    assert found.effective_rank == pytest.approx(4 / 27**0.25, abs=1e-4)  # entropy of 3/4, 1/4
    assert (found.principal, found.minor) == pytest.approx((principal, minor), abs=1e-4)
    again = matrix_drift(base.float(), trained, 3, nominal=4).learned
    assert again.used == pytest.approx(found.effective_rank / 4)
    assert matrix_drift(base, base.float()).learned is None


@pytest.mark.parametrize('shape', [(40, 40), (60, 30), (30, 60)])
def test_overlaps_are_numpys_and_near_chance_at_random(shape):
    base, change = torch.randn(shape), torch.randn(shape[0], 6) @ torch.randn(6, shape[1])
    found = matrix_drift(base, base + change / 50, 5).learned
    U, _, V = np.linalg.svd(base.double().numpy(), full_matrices=False)
    D, values, E = np.linalg.svd(change.double().numpy(), full_matrices=False)
    for part, value in ((slice(5), found.principal), (slice(-5, None), found.minor)):
        left, right = D[:, :5].T @ U[:, part], E[:5] @ V[part].T
        expected = ((left**2).sum() + (right**2).sum()) / 10
        assert value == pytest.approx(expected, abs=1e-4)
        assert value == pytest.approx(found.chance, abs=0.1)
    p = values[:6] / values[:6].sum()
    assert found.rank == 6 and found.used == pytest.approx(np.exp(-p @ np.log(p)) / 6, abs=1e-3)


def test_the_total_is_the_drift_of_one_vector():
    small, large = torch.randn(6, 6), 10 * torch.randn(6, 6)
    base = {'a': small, 'b': large, 'c': torch.ones(2, 2)}
    trained = {'a': small + torch.randn(6, 6), 'b': large * 1.1, 'c': torch.ones(2, 2)}
    found = drift(base, trained)
    total = total_drift(found.values())
    change = sum((trained[name] - base[name]).square().sum() for name in base)
    energy = sum(matrix.square().sum() for matrix in base.values())
    assert total.change == pytest.approx((change / energy).sqrt().item())
    assert total.energy == pytest.approx(energy.item()) and sum(total.shares) == pytest.approx(1)
    weights = {name: (trained[name] - base[name]).square().sum().item() for name in base}
    minor = sum(weights[name] * found[name].shares.minor for name in base) / change.item()
    assert total.shares.minor == pytest.approx(minor)
    assert found['c'].learned is None
    for name in ('rank', 'minor'):
        values = [getattr(found[key].learned, name) for key in 'ab']
        assert getattr(total.learned, name) == pytest.approx(sum(values) / 2)
    nothing = total_drift([found['c']])
    assert nothing.learned is None
    assert (nothing.change, nothing.shares, nothing.isotropic) == (0, Shares(), Shares())
    with pytest.raises(ValueError, match='no drift'):
        total_drift([])


STATE = {
    'backbone.patch_embed.proj.weight': (4, 3, 2, 2),
    'backbone.blocks.0.attn.qkv.weight': (12, 4),
    'backbone.blocks.0.attn.qkv.bias': (12,),
    'backbone.blocks.0.norm1.weight': (4,),
    'backbone.blocks.0.conv.weight': (5, 4, 3, 2),
    'backbone.blocks.0.mlp.fc1.weight': (8, 4),
    'backbone.pos_embed': (1, 5, 4),
    'decode_head.qkv.weight': (6, 4),  # not of three square parts
    'decode_head.in_proj.weight': (6, 4),  # of something else than attention
    'decode_head.conv_seg.weight': (3, 4, 1, 1),
    'decode_head.attn.in_proj_weight': (12, 4),
    'decode_head.query_embed.weight': (7, 4),
}


def random_state(shapes=None):
    return {name: torch.randn(shape) for name, shape in (shapes or STATE).items()}


def test_which_matrices_are_found():
    state = random_state()
    found = weight_matrices(state)
    shapes = {name: tuple(matrix.shape) for name, matrix in found.items()}
    assert shapes == {
        'blocks.0.attn.q': (4, 4),
        'blocks.0.attn.k': (4, 4),
        'blocks.0.attn.v': (4, 4),
        'blocks.0.conv': (5, 24),
        'blocks.0.mlp.fc1': (8, 4),
    }
    assert torch.equal(found['blocks.0.attn.k'], state['backbone.blocks.0.attn.qkv.weight'][4:8])
    kernel = state['backbone.blocks.0.conv.weight'].reshape(5, 24)
    assert torch.equal(found['blocks.0.conv'], kernel)
    own = {name.removeprefix('backbone.'): value for name, value in state.items()}
    assert weight_matrices({k: v for k, v in own.items() if 'head' not in k}).keys() == set(found)


@pytest.mark.parametrize(
    ('layers', 'names'),
    [
        (r'blocks\.0\.attn\.qkv', ['blocks.0.attn.q', 'blocks.0.attn.k', 'blocks.0.attn.v']),
        (r'.*\.k', ['blocks.0.attn.k', 'decode_head.attn.k']),
        (r'decode_head\.conv_seg|patch_embed.*', ['patch_embed.proj', 'decode_head.conv_seg']),
        (r'decode_head\.(qkv|in_proj)', ['decode_head.qkv', 'decode_head.in_proj']),
    ],
)
def test_layers_are_chosen_by_name(layers, names):
    assert list(weight_matrices(random_state(), layers)) == names


@pytest.mark.parametrize('rename', [to_transformers, to_timm])
def test_other_names_of_dinov2_mean_the_same(public_file, rename):
    state = read_state_dict(public_file)
    ours, theirs = weight_matrices(state), weight_matrices(rename(state))
    assert ours.keys() == theirs.keys() and len(ours) == 24
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_what_cannot_be_analysed_is_named():
    state = random_state()
    with pytest.raises(ValueError, match=r"no layer fits 'x' among .*'blocks.0.attn.qkv'"):
        weight_matrices(state, 'x')
    with pytest.raises(ValueError, match='no regular expression'):
        weight_matrices(state, '(')
    with pytest.raises(ValueError, match=r"no linear layer or convolution .*'bias'"):
        weight_matrices({'bias': torch.ones(3)})
    with pytest.raises(ValueError, match="layer 'a': its weight holds NaN"):
        spectra({'a': torch.full((2, 2), torch.nan)})
    one, other = torch.ones(3, 3), torch.ones(3, 2)
    with pytest.raises(ValueError, match='rank must be at least 1, got 0'):
        spectrum(one, 0)
    with pytest.raises(ValueError, match=r'\[3, 3\] and \[3, 2\] differ'):
        matrix_drift(one, other)
    with pytest.raises(ValueError, match='the base is zero'):
        matrix_drift(0 * one, one)
    base = {'a': one, 'b': one, 'c': 0 * one, 'd': one}
    trained = {'a': other, 'c': one, 'd': one, 'e': one}
    assert unmatched(base, trained) == {
        'a': '[3, 3] in the base, [3, 2] here',
        'b': 'only in the base',
        'c': 'zero in the base',
        'e': 'not in the base',
    }
    assert list(drift(base, trained)) == ['d'] and spectra({}) == {}
    with pytest.raises(ValueError, match=r'no layer can be compared: b \(only in the base\)'):
        drift({'b': one}, {'e': one})


def test_long_work_shows_its_progress(monkeypatch, capsys):
    matrices = {str(index): torch.randn(3, 3) for index in range(20)}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        quiet = spectra(matrices)
        assert capsys.readouterr().out == '' and list(quiet) == list(matrices)
        monkeypatch.setattr(soma.adapters.split, '_SECONDS_PER_PRODUCT', 1.0)
        assert spectra(matrices) == quiet
        assert 'singular values' in capsys.readouterr().out and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
