import copy
import errno
import logging
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from soma.adapters import (
    SoMALinear,
    inject_adapter,
    load_adapter,
    save_adapter,
    split,
    split_layers,
    split_together,
)
from soma.adapters.methods import soma


def adapted(component='minor', rank=2, seed=0):
    """Three layers, the last one of three stacked matrices, not split."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 16), nn.Linear(16, 48))
    config = dict(type='SoMA', rank=rank, targets=r'\d', groups={'2': 3}, component=component)
    inject_adapter(model, config, split=False)
    return model


def layers_of(model):
    return {n: m for n, m in model.named_modules() if isinstance(m, SoMALinear)}


def split_of(model):
    return {
        n: v.clone() for n, v in model.state_dict().items() if n[-2:] in ('.A', '.B', 'A0', 'B0')
    }


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.fixture
def calls(monkeypatch):
    """The shapes of what is split."""
    shapes, real = [], soma.split_components
    monkeypatch.setattr(
        soma, 'split_components', lambda w, *a: shapes.append(tuple(w.shape)) or real(w, *a)
    )
    return shapes


@pytest.fixture
def kept(tmp_path):
    """A cache file, and the split that it holds."""
    model = adapted()
    split_layers(layers_of(model), tmp_path / 'base.pth')
    return tmp_path / 'base.pth.split-r2-minor.safetensors', split_of(model)


def test_all_at_once_is_one_by_one():
    model, other = adapted(), adapted()
    split_layers(layers_of(model))
    for layer in layers_of(other).values():
        layer.split_()
    assert equal(split_of(model), split_of(other)) and split_of(model)['2.A'].any()


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        split_layers(layers_of(adapted()))
        assert torch.get_num_threads() == 2
        split_layers(layers_of(adapted('random')))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_random_components_follow_from_the_seed(tmp_path):
    results = []
    for _ in range(2):
        model = adapted('random')
        torch.manual_seed(3)
        split_layers(layers_of(model), tmp_path / 'base.pth')
        results.append(split_of(model))
    assert equal(*results) and not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['SVF', 'OSF'])
def test_components_that_no_file_holds_come_back_bit_for_bit(kind, tmp_path):
    before, plain = torch.get_num_threads(), nn.Sequential(nn.Linear(384, 512))
    model, again = copy.deepcopy(plain), copy.deepcopy(plain)
    try:
        torch.set_num_threads(2)
        inject_adapter(model, dict(type=kind, targets='0'))
        model[0].S.data += 1
        save_adapter(model, tmp_path / 'a.safetensors')
        load_adapter(again, tmp_path / 'a.safetensors')
        resumed = copy.deepcopy(model)
        with split_together(resumed):
            resumed.load_state_dict(model.state_dict())
    finally:
        torch.set_num_threads(before)
    for other in (again, resumed):
        for (name, value), found in zip(model.named_buffers(), other.buffers(), strict=True):
            assert torch.equal(value, found), name
        assert torch.equal(model[0].S, other[0].S)


def test_loaded_weights_are_split_once_and_together(calls):
    model, plain = (
        adapted(seed=0),
        nn.Sequential(*[nn.Linear(*s) for s in ((16, 8), (8, 16), (16, 48))]),
    )
    with split_together(model):
        model.load_state_dict(plain.state_dict())
        assert not calls
    assert sorted(calls) == [(8, 16), (16, 8), (48, 16)]
    other = adapted()
    other.load_state_dict(plain.state_dict())  # at once, without the context
    assert len(calls) == 6 and equal(split_of(model), split_of(other))
    with split_together(model):
        model.load_state_dict(other.state_dict())  # holds a split
    assert len(calls) == 6


def test_an_error_leaves_no_layer_waiting(calls):
    model = adapted()
    with pytest.raises(RuntimeError), split_together(model):
        model.load_state_dict({'0.weight': torch.ones(8, 16)})
    assert not calls
    model[1].load_state_dict(nn.Linear(8, 16).state_dict())
    assert calls == [(16, 8)]


def test_a_bad_weight_is_named():
    model = adapted()
    model[1].weight.data[0, 0] = float('nan')
    with pytest.raises(ValueError, match=r"layer '1': .* NaN or infinity"):
        split_layers(layers_of(model))


def test_second_start_decomposes_nothing(kept, calls):
    path, expected = kept
    before = path.stat().st_mtime_ns
    model = adapted()
    split_layers(layers_of(model), path.with_name('base.pth'))
    assert not calls and equal(split_of(model), expected)
    assert path.stat().st_mtime_ns == before and [path] == list(path.parent.iterdir())


def test_a_changed_value_is_split_anew_and_only_its_layer(kept, calls):
    path, expected = kept
    model = adapted()
    model[1].weight.data[3, 3] += 1e-6
    split_layers(layers_of(model), path.with_name('base.pth'))
    assert calls == [(16, 8)]
    assert not torch.equal(split_of(model)['1.A'], expected['1.A'])
    assert torch.equal(split_of(model)['0.A'], expected['0.A'])


def test_other_settings_do_not_meet(kept, calls):
    path, _ = kept
    base = path.with_name('base.pth')
    split_layers(layers_of(adapted(rank=3)), base)
    split_layers(layers_of(adapted('principal')), base)
    assert len(calls) == 6 and len(list(path.parent.iterdir())) == 3
    model = adapted()
    model[2].groups = 1
    model[2].component = 'principal'
    assert split._key(model[2]) != split._key(adapted()[2])


def flip(data):
    """One bit of the last tensor."""
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    'change',
    [flip, lambda d: d[:-8], lambda d: d[:20], lambda d: b'', lambda d: b'no checkpoint' * 99],
    ids=['flipped bit', 'truncated', 'truncated header', 'empty', 'foreign bytes'],
)
def test_damage_is_noticed_and_repaired(kept, calls, caplog, change):
    path, expected = kept
    path.write_bytes(change(path.read_bytes()))
    model = adapted()
    with caplog.at_level(logging.WARNING):
        split_layers(layers_of(model), path.with_name('base.pth'))
    assert len(calls) == 3 and equal(split_of(model), expected)
    (record,) = caplog.records
    assert path.name in record.message and 'split anew' in record.message
    split_layers(layers_of(model), path.with_name('base.pth'))
    assert len(calls) == 3 and len(caplog.records) == 1


def test_any_flipped_bit_changes_nothing(kept):
    path, expected = kept
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        model = adapted()
        split_layers(layers_of(model), path.with_name('base.pth'))
        assert equal(split_of(model), expected), position


@pytest.mark.parametrize('metadata', [None, {'soma': '[1]'}, {'soma': '{"split": {"x": "y"}}'}])
def test_a_foreign_file_is_replaced(kept, calls, caplog, metadata):
    path, _ = kept
    save_file({'meta': torch.ones(3)}, path, metadata)
    split_layers(layers_of(adapted()), path.with_name('base.pth'))
    assert path.name in caplog.text and len(calls) == 3
    split_layers(layers_of(adapted()), path.with_name('base.pth'))
    assert len(calls) == 3


def test_without_a_place_to_write_it_goes_on(tmp_path, caplog):
    (tmp_path / 'file').touch()  # is no folder, not even for root
    model, expected = adapted(), adapted()
    split_layers(layers_of(model), tmp_path / 'file' / 'base.pth')
    split_layers(layers_of(expected))
    assert equal(split_of(model), split_of(expected))
    (record,) = caplog.records
    assert 'not kept' in record.message


@pytest.mark.parametrize('number', [errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_files_is_no_obstacle(tmp_path, caplog, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr('soma.io.checkpoint_files.torch.save', refuse)
    monkeypatch.setattr('soma.io.checkpoint_files.save_file', refuse)
    split_layers(layers_of(adapted()), tmp_path / 'base.pth')
    (record,) = caplog.records
    assert 'not kept' in record.message and os.strerror(number) in record.message


def test_only_long_splits_show_a_bar(monkeypatch):
    shown = []
    monkeypatch.setattr(split, 'track', lambda s, total, title: shown.append(total) or s)
    split_layers(layers_of(adapted()))
    assert not shown
    monkeypatch.setattr(split, '_SECONDS_PER_PRODUCT', 1.0)
    split_layers(layers_of(adapted()))
    assert shown == [3]
    monkeypatch.setattr(split, 'is_main', lambda: False)
    split_layers(layers_of(adapted()))
    assert shown == [3]
