"""The toy streets on disk."""

import json

import pytest
from dataset_files import digests

from toy_streets import write_toy_streets

SIZE = (128, 64)
SEED = 5


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    write_toy_streets(root, 2, SIZE, SEED, test_images=1)
    return root


def test_same_bytes_for_any_number_of_processes_and_domains(data, tmp_path):
    write_toy_streets(tmp_path, 1, SIZE, SEED, domains=['snow', 'gta'], nproc=2)
    made = digests(tmp_path)
    del made['toy_streets.json']
    assert len(made) == 2 + 3
    assert {name: digests(data)[name] for name in made} == made


def test_manifest(data, tmp_path):
    assert write_toy_streets(data, 2, SIZE, SEED, test_images=1).images == 0
    with pytest.raises(FileExistsError, match='other arguments'):
        write_toy_streets(data, 3, SIZE, SEED)
    (tmp_path / 'gta').mkdir()
    with pytest.raises(FileExistsError, match='not from this tool'):
        write_toy_streets(tmp_path, 1, SIZE, domains=['gta'])


def test_interrupted_writing_goes_on(tmp_path):
    write_toy_streets(tmp_path, 1, SIZE, domains=['gta'])
    before = digests(tmp_path)
    manifest = tmp_path / 'toy_streets.json'
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), 'complete': False}))
    (tmp_path / 'gta/images/00001.png').unlink()
    assert write_toy_streets(tmp_path, 1, SIZE, domains=['gta']).images == 1
    after = digests(tmp_path)
    assert after['gta/images/00001.png'] == before['gta/images/00001.png']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(images=0, size=SIZE), 'at least 1 image'),
        (dict(images=1, size=SIZE, val_images=0), 'at least 1 image'),
        (dict(images=1, size=(16, 64)), 'at least 32'),
        (dict(images=1, size=SIZE, domains=['mars']), r"unknown domains \['mars'\]"),
        (dict(images=1, size=SIZE, domains=['gta'], nproc=0), 'nproc'),
        (dict(images=1, size=SIZE, seed=-1), 'seed'),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_toy_streets(tmp_path / 'out', **arguments)
