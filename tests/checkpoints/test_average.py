"""Averages of checkpoints and adapters."""

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean

from soma.adapters.low_rank import low_rank_delta
from soma.checkpoints import (
    average_files,
    extract_adapter,
    load_plain,
    merge_files,
    open_checkpoint,
)
from soma.io.checkpoint_files import (
    CheckpointError,
    card_of,
    read_checkpoint,
    read_state_dict,
    write_checkpoint,
)


def state(seed, **changes):
    generator = torch.Generator().manual_seed(seed)
    made = {
        'encoder.a': torch.randn(4, 3, generator=generator),
        'encoder.half': torch.randn(5, generator=generator).half(),
        'encoder.bfloat': torch.randn(2, generator=generator).bfloat16(),
        'encoder.double': torch.randn(2, generator=generator, dtype=torch.float64),
        'encoder.count': torch.tensor(seed),
        'head.a': torch.randn(3, generator=generator),
    }
    return {**made, **changes}


@pytest.fixture
def write(tmp_path):
    """Write state dicts to files."""

    def files(*states, suffix='.pth'):
        paths = [tmp_path / f'{index}{suffix}' for index in range(len(states))]
        for path, content in zip(paths, states, strict=True):
            write_checkpoint({'state_dict': content, 'optimizer': {'lr': 1.0}}, path)
        return paths

    return files


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('operation', ['mean', 'factors', 'min', 'trimmed', 'trimean'])
def test_every_floating_tensor_that_matches(write, tmp_path, operation, suffix):
    states = [state(seed) for seed in range(4)]
    options = {'operation': operation}
    if operation == 'factors':
        options = {'factors': [1, 2, 3, 4]}
    by_numpy = {
        'mean': lambda x: x.mean(0),
        'factors': lambda x: np.average(x, axis=0, weights=[1, 2, 3, 4]),
        'min': lambda x: x.min(0),
        'trimmed': lambda x: trim_mean(x, 0.25, axis=0),
        'trimean': lambda x: np.quantile(x, [0.25, 0.5, 0.5, 0.75], axis=0).mean(0),
    }[operation]
    out = tmp_path / f'out{suffix}'
    done = average_files(write(*states, suffix=suffix), out, '^encoder', **options)
    assert (done.averaged, done.kept, done.layers, done.rank) == (4, 2, 0, None)
    found = read_state_dict(out)
    assert list(found) == list(states[0]) or suffix == '.safetensors'
    for name, value in found.items():
        assert value.dtype == states[0][name].dtype
        if name in ('encoder.count', 'head.a'):
            assert torch.equal(value, states[0][name])
        else:
            expected = by_numpy(np.stack([s[name].double().numpy() for s in states]))
            close = torch.from_numpy(expected).to(value)
            torch.testing.assert_close(value, close, rtol=1e-12, atol=0, msg=name)
    assert 'optimizer' not in read_checkpoint(out)


def test_ties_and_outliers_in_a_trimmed_mean(write, tmp_path):
    values = [[1.0, 5.0, 1e30, 2.0], [1.0, 5.0, 1.0, 2.0], [1.0, 7.0, 2.0, 3.0]]
    files = write(*({'x': torch.tensor(value)} for value in values))
    average_files(files, tmp_path / 'out.pth', operation='trimmed')
    assert read_state_dict(tmp_path / 'out.pth')['x'].tolist() == [1.0, 5.0, 2.0, 2.0]


def test_a_filter_holds_from_the_start_of_a_name(write, tmp_path):
    files = write(state(0), state(1))
    assert average_files(files, tmp_path / 'out.pth', 'enc|a').averaged == 4  # not head.a
    assert average_files(files, tmp_path / 'out.pth', '.*a$').averaged == 2
    with pytest.raises(ValueError, match="'ncoder' finds no floating tensor"):
        average_files(files, tmp_path / 'out.pth', 'ncoder')


def test_what_only_later_files_have_can_be_left_out(write, tmp_path, run_here):
    files = write(state(0), state(1, **{'encoder.more': torch.ones(1)}))
    line = ['--checkpoints', *files, '--cpu-only', '--weights-filter', 'encoder.*']
    run_here('model_reparameterization.py', tmp_path / 'out.pth', *line, '--no-warnings')
    result = read_state_dict(tmp_path / 'out.pth')
    assert result.keys() == state(0).keys()
    mean = (state(0)['encoder.a'] + state(1)['encoder.a']) / 2
    torch.testing.assert_close(result['encoder.a'], mean)
    with pytest.raises(CheckpointError, match=r'differ in: encoder\.more'):  # the other way round
        average_files(files[::-1], tmp_path / 'out.pth', ignore_extra=True)


def test_equal_weights_stay_as_they_are(write, tmp_path):
    own = {name: value for name, value in state(7).items() if value.dtype != torch.float64}
    average_files(write(*[own] * 7), tmp_path / 'out.pth')
    found = read_state_dict(tmp_path / 'out.pth')
    assert all(torch.equal(value, found[name]) for name, value in own.items())


def test_factors_change_the_mean(write, tmp_path):
    files = write(state(0), state(1))
    average_files(files, tmp_path / 'out.pth', factors=[1, 0])
    found = read_state_dict(tmp_path / 'out.pth')
    assert all(torch.equal(value, found[name]) for name, value in state(0).items())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'encoder.more': torch.ones(1)}, r'differ in: encoder\.more'),
        ({'encoder.a': torch.ones(4, 4)}, r'differ in shape: encoder\.a \(\[4, 3\], \[4, 4\]\)'),
        ({'encoder.a': torch.ones(4, 3, dtype=int)}, r'differ in: encoder\.a'),
    ],
)
def test_files_that_differ_are_named(write, tmp_path, changes, message):
    files = write(state(0), state(1), state(2, **changes))
    with pytest.raises(CheckpointError, match=rf'0\.pth and .*2\.pth {message}'):
        average_files(files, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()
    average_files(files, tmp_path / 'out.pth', '^head')  # where they do not differ


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(operation='median'), 'must be one of'),
        (dict(operation='trimmed'), 'three files or more'),
        (dict(operation='min', factors=[1, 1]), 'belong to the mean'),
        (dict(factors=[1]), '2 files need as many factors'),
        (dict(factors=[1, -1]), '2 files need as many factors'),
        (dict(weights_filter='('), 'is no regular expression'),
        (dict(weights_filter='decoder'), "'decoder' finds no floating tensor"),
        (dict(rank=3), 'no adapter is averaged'),
    ],
)
def test_bad_arguments_are_refused(write, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        average_files(write(state(0), state(1)), tmp_path / 'out.pth', **options)
    with pytest.raises(ValueError, match='two files or more'):
        average_files(write(state(0)), tmp_path / 'out.pth')


def deltas(path):
    checkpoint = open_checkpoint(path)
    settings = checkpoint.card.settings
    layers = checkpoint.layers
    return {name: low_rank_delta(tensors, settings).double() for name, tensors in layers.items()}


@pytest.fixture
def adapters(tiny_config, build_runner, tmp_path):
    """Adapters on one base, of different seeds, ranks and alphas."""
    files = []
    for seed, rank, alpha in ((0, 2, 2.0), (1, 1, 3.0)):
        adapter = {
            f'model.backbone.adapter.{k}': v for k, v in dict(rank=rank, alpha=alpha).items()
        }
        options = {'randomness.seed': seed, 'work_dir': str(tmp_path / f'work_{seed}'), **adapter}
        build_runner(tiny_config, options).train()
        files.append(tmp_path / f'adapter_{seed}.safetensors')
        extract_adapter(tmp_path / f'work_{seed}' / 'iter_4.pth', files[-1])
    return files


def test_adapters_are_averaged_as_weight_changes(adapters, tmp_path):
    out = tmp_path / 'out.safetensors'
    done = average_files(adapters, out, factors=[3, 1], rank=8)
    assert done.rank == 8 and len(done.errors) == 8 and max(done.errors.values()) < 1e-6
    first, second = map(deltas, adapters)
    for layer, found in deltas(out).items():
        torch.testing.assert_close(found, 0.75 * first[layer] + 0.25 * second[layer])
    head = [read_state_dict(file)['decode_head.conv_seg.weight'].double() for file in adapters]
    found = read_state_dict(out)['decode_head.conv_seg.weight']
    torch.testing.assert_close(found, (0.75 * head[0] + 0.25 * head[1]).float())


def test_a_smaller_rank_is_the_best_of_its_rank(adapters, tmp_path):
    done = average_files(adapters, tmp_path / 'out.safetensors', rank=1)
    first, second = map(deltas, adapters)
    for layer, found in deltas(tmp_path / 'out.safetensors').items():
        mean = (first[layer] + second[layer]) / 2
        groups = 3 if layer.endswith('qkv') else 1
        rest = [torch.linalg.svdvals(part)[1:].square().sum() for part in mean.chunk(groups)]
        error = float((sum(rest) / mean.square().sum()).sqrt())
        assert done.errors[layer] == pytest.approx(error, rel=1e-4) and error > 1e-3
        assert float((found - mean).norm() / mean.norm()) == pytest.approx(error, rel=1e-4)


def test_the_filter_leaves_layers_as_in_the_first(adapters, tmp_path):
    pattern = r'backbone\.blocks\.2\..*weight'
    done = average_files(adapters, tmp_path / 'out.safetensors', pattern, rank=8)
    assert done.layers == 4
    first, second = map(deltas, adapters)
    for layer, found in deltas(tmp_path / 'out.safetensors').items():
        mean = (first[layer] + second[layer]) / 2 if '.2.' in layer else first[layer]
        torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-7)


def test_a_filter_that_finds_no_layer_leaves_the_adapter_as_it_is(adapters, tmp_path):
    out = tmp_path / 'out.safetensors'
    done = average_files(adapters, out, 'decode_head')
    assert done.rank is None and not done.errors and card_of(read_checkpoint(out))['rank'] == 2
    first, found = read_state_dict(adapters[0]), read_state_dict(out)
    assert all(torch.equal(found[n], first[n]) for n in first if n.startswith('backbone.'))
    assert not torch.equal(
        found['decode_head.conv_seg.weight'], first['decode_head.conv_seg.weight']
    )
    with pytest.raises(ValueError, match='no adapter is averaged'):
        average_files(adapters, out, 'decode_head', rank=2)
    for rank in (0, 999):
        with pytest.raises(ValueError, match=f'rank {rank} is out of range'):
            average_files(adapters, out, rank=rank)


def test_the_average_is_an_adapter_file(adapters, tiny_config, build_runner, tmp_path, public_file):
    out, merged = tmp_path / 'out.safetensors', tmp_path / 'merged.pth'
    average_files(adapters, out)
    merge_files(public_file, out, merged)
    model = build_runner(tiny_config, {'model.backbone.adapter': None}).model
    load_plain(model, merged)
    base = read_state_dict(public_file)['blocks.2.attn.qkv.weight']
    change = model.backbone.blocks[2].attn.qkv.weight - base
    expected = deltas(out)['backbone.blocks.2.attn.qkv'].float()
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-6)
    card = card_of(read_checkpoint(out))
    assert card['rank'] == 4 and card['average']['files'] == [str(file) for file in adapters]
    assert card['average']['factors'] is None
    average_files(adapters, tmp_path / 'weighted.pth', factors=[3, 1])
    weighted = card_of(read_checkpoint(tmp_path / 'weighted.pth'))
    assert weighted['average']['factors'] == [3, 1]
    # and is trained on
    options = {'load_from': str(out), 'model.backbone.adapter.rank': 4, 'train_cfg.max_iters': 1}
    build_runner(tiny_config, options).train()


def test_adapters_of_different_bases_are_not_averaged(adapters, tmp_path):
    content = read_checkpoint(adapters[1])
    content['meta']['soma']['base']['hash'] = '0' * 64
    write_checkpoint(content, adapters[1])
    with pytest.raises(CheckpointError, match='different pretrained weights'):
        average_files(adapters, tmp_path / 'out.pth')
    average_files(adapters, tmp_path / 'out.pth', force=True)


def test_an_adapter_and_a_plain_model_are_not_averaged(adapters, write, tmp_path):
    (plain,) = write(state(0))
    with pytest.raises(CheckpointError, match='differ in'):
        average_files([adapters[0], plain], tmp_path / 'out.pth')
