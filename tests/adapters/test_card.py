"""Cards are checked when they are read: each wrong value is one line that names file and key."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from soma.adapters import (
    Card,
    card_from_tensors,
    inject_adapter,
    load_adapter,
    parse_adapter,
    read_card,
    save_adapter,
)
from soma.checkpoints import open_checkpoint
from soma.io.checkpoint_files import card_of, read_checkpoint, write_checkpoint
from soma.io.files import CheckpointError


@pytest.fixture
def file(tmp_path):
    """The adapter of a small network."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4))
    inject_adapter(model, dict(type='SoMA', rank=2, targets=['0', '1']))
    save_adapter(model, tmp_path / 'adapter.safetensors')
    return tmp_path / 'adapter.safetensors'


def rewrite(file, **changes):
    """Write the file again with other values on its card; None takes a key out."""
    content = read_checkpoint(file)
    card = {**card_of(content), **changes}
    card = {name: value for name, value in card.items() if value is not None}
    write_checkpoint({'state_dict': content['state_dict'], 'meta': {'soma': card}}, file)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(method='LoHa'),
            r"names the adapter 'LoHa', which is unknown here \(there are BitFit",
        ),
        (dict(method=7), 'method = 7, which should be a text'),
        (dict(rank=0), 'rank must be at least 1'),
        (dict(rank=None), 'its card has no rank'),
        (dict(alpha=None), 'its card has no alpha'),
        (dict(rank=2.5), 'rank must be at least 1'),
        (dict(rank=10**12), 'rank must be a number up to 1048576, got 1000000000000'),
        (dict(rank=3), 'says rank 3, but 0 has rank 2'),
        (dict(rank=True), 'rank must be at least 1, and whole, got True'),
        (dict(alpha=math.nan), 'its card has alpha = nan, which is of no use'),
        (dict(alpha=math.inf), 'its card has alpha = inf, which is of no use'),
        (dict(alpha=2**21), 'alpha must be a number up to 1048576, got 2097152'),
        (dict(alpha=True), 'alpha must be positive, .* got True'),
        (dict(note={'deep': [1.0, math.nan]}), 'its card has note.deep = nan, which is of no use'),
        (dict(classes=['road\x1b[31m']), r"has classes = 'road\\x1b\[31m', which is of no use"),
        (dict(classes=['road\ntree']), r"has classes = 'road\\ntree', which is of no use"),
        (dict(classes=['road', 3]), 'classes = .* should be a list of names'),
        (dict(note={'\x1b[31m': 3}), r"= '\\x1b\[31m', which is of no use"),
        (dict(config='x = 1\x07\n'), r"has config = 'x = 1\\x07\\n', which is of no use"),
        (dict(note='x' * 5000), "has note = 'xxx.* which is of no use"),
        (dict(palette=[[1, 2, 300]]), 'should be a list of colours'),
        (dict(palette=[[0, 0, 0], 'red']), 'should be a list of colours'),
        (dict(alpha=-1), 'alpha must be positive'),
        (dict(alpha='four'), "alpha must be positive, .* got 'four'"),
        (dict(component='major'), 'component must be one of'),
        (dict(targets='0'), "targets = '0', which should be a list of names"),
        (dict(targets=[]), 'names no targets'),
        (dict(targets=['0', '2']), 'names the layer 2, whose A is missing'),
        (
            dict(targets=['0']),
            r'names 1 layers with SoMA, and of its tensors not 1\.A \.\.\. \(4\)',
        ),
        (dict(start_block=-1), 'start_block = -1, which should be a whole number'),
        (dict(train_bias='yes'), "train_bias = 'yes', which should be true or false"),
        (dict(groups=[3]), r'groups = \[3\], which should be a dict'),
        (dict(groups={'0': 0}), r"groups must be whole numbers from 1 by name, got {'0': 0}"),
        (dict(classes='road'), "classes = 'road', which should be a list of names"),
        (dict(iteration='last'), 'iteration .* should be a whole number'),
        (dict(base=[]), r'base = \[\], which should be a dict'),
        (dict(base={'hash': 3}), 'base.hash = 3, which should be a text'),
        (dict(base={'img_size': [512, 10**9]}), r'base.img_size = .* height and width'),
        (dict(base={'img_size': 512}), r'base.img_size = 512, which should be height and'),
        (dict(base={'patch_size': 0}), 'base.patch_size = 0, which should be a whole number'),
        (dict(base={'names': [1]}), 'base.names = .* a list of names'),
        (dict(base={'names': []}), 'needs base.names, or base.patch_size'),
        (dict(base={'img_size': [32, 32]}), 'needs base.names, or base.patch_size'),
        (dict(base={'samples': {'pos_embed': 'x'}}), 'base.samples = .* lists of numbers'),
    ],
)
def test_wrong_values_are_one_line(file, changes, message):
    rewrite(file, **changes)
    for read in (open_checkpoint, lambda path: load_adapter(nn.Sequential(), path)):
        with pytest.raises(CheckpointError, match=message) as error:
            read(file)
        assert str(error.value).startswith(str(file)) and '\n' not in str(error.value)


def test_what_is_no_dict_is_no_card(tmp_path):
    write_checkpoint(
        {'state_dict': {'a': torch.ones(1)}, 'meta': {'soma': [1]}}, tmp_path / 'x.pth'
    )
    with pytest.raises(CheckpointError, match=r'x\.pth: its card is no dict'):
        open_checkpoint(tmp_path / 'x.pth')


def test_a_card_is_read_as_it_was_written(file):
    data = card_of(read_checkpoint(file))
    card = read_card(data, file)
    assert card.to_dict() == data
    assert (card.method, card.settings['rank'], card.targets) == ('SoMA', 2, ['0', '1'])
    assert card.base.prefix == '' and len(card.base.hash) == 64
    for extra in ({'note': 'mine'}, {'average': {'files': ['a']}, 'iteration': 3}):
        assert read_card({**data, **extra}, file).to_dict() == {**data, **extra}
    merged = Card(merged=replace(card, classes=('road',)), config='x = 1')
    assert read_card(merged.to_dict(), file).merged.base == card.base
    assert read_card({}, file) == Card() and Card().to_dict() == {}


def test_a_rank_of_none_stays_none():
    """Of Rein it means full tokens; the default is another."""
    data = {'method': 'Rein', 'targets': ['backbone.blocks.0'], 'rank': None, 'num_tokens': 4}
    card = read_card(data, 'x.pth')
    assert card.settings == {'rank': None, 'num_tokens': 4}
    assert card.adapter_config(['x'])['rank'] is None


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        ({'note': torch.ones(1)}, r'note = tensor\(\[1\.\]\), which is of no use'),
        ({'note': {1: 2}}, r'note\.1 = 1, which is of no use'),
        ({'iteration': 10**5000}, "iteration = '16610 bits', which is of no use"),
        ({'note': '\ud800'}, r"note = '\\ud800', which is of no use"),
    ],
)
def test_what_only_a_pickle_can_hold_is_refused(data, message):
    with pytest.raises(CheckpointError, match=rf'^x\.pth: its card has {message}$'):
        read_card(data, 'x.pth')
    data['self'] = data  # nor does it take forever
    with pytest.raises(CheckpointError, match=message):
        read_card(data, 'x.pth')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(type='Rein', link='yes'), "link must be True or False, got 'yes'"),
        (dict(type='Rein', scale_init='no'), "scale_init must be a number, got 'no'"),
        (dict(type='SVF', ratio=True), 'ratio must be a number, got True'),
        (dict(type='SoMA', train_bias=1), 'train_bias must be True or False, got 1'),
    ],
)
def test_options_of_another_type_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        parse_adapter(options)
    card = {'method': options['type'], 'targets': ['backbone.blocks.0'], **options}
    with pytest.raises(CheckpointError):
        read_card({**card, 'train_bias': options.get('train_bias', False)}, 'x.pth')


def test_the_settings_keep_their_order(file):
    """Else the bytes of a file would change from process to process."""
    data = card_of(read_checkpoint(file))
    for names in (['rank', 'alpha', 'component'], ['component', 'alpha', 'rank']):
        card = {'method': 'SoMA', **{name: data[name] for name in names}, 'targets': ['0', '1']}
        assert [*read_card(card, file).settings] == names


def test_a_method_with_a_tensor_of_its_own_is_not_taken_for_another(file):
    state = read_checkpoint(file)['state_dict']
    assert card_from_tensors(state).method == 'SoMA'
    gated = {f'{name}.gate': torch.ones(1) for name in ('0', '1')}
    with pytest.raises(ValueError, match=r'has the tensors of an adapter .*, and no card says of'):
        card_from_tensors({**state, **gated})
