"""Fractals to mix in."""

import json

import numpy as np
import pytest
from dataset_files import digests
from fractals import BENDS, draw_fractal, sample_functions, write_fractals
from PIL import Image

from soma.io.files import InputError


@pytest.fixture(scope='module')
def images():
    return [draw_fractal(96, np.random.default_rng([0, index])) for index in range(12)]


def test_images_are_structured_neither_blank_nor_noise(images):
    for image in images:
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        assert image.std((0, 1)).max() > 30
        # things go on everywhere: nearly no tile of 8 x 8 pixels is even
        tiles = image.reshape(12, 8, 12, 8, 3).swapaxes(1, 2)
        assert (tiles.std((2, 3)).max(-1) > 2).mean() > 0.95
        # and neighbours are alike, which those of noise are not
        grey = image.mean(2)
        assert np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1] > 0.5


def test_images_differ_in_colour_and_form(images):
    colours = np.stack([image.mean((0, 1)) for image in images])
    assert (colours.std(0) > 15).all()
    grey = np.stack([image.mean(2).ravel() for image in images])
    alike = np.corrcoef(grey)[np.triu_indices(len(grey), 1)]
    assert np.abs(alike).mean() < 0.4


def test_maps_stay_in_the_plane():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 3, (2, 1000))
    x[0] = y[0] = 0
    for bend in BENDS:
        assert np.isfinite(bend(x, y)).all()
    functions = sample_functions(rng)
    assert functions.shares.sum() == pytest.approx(1)
    # the linear parts bring points nearer to each other
    assert (np.linalg.norm(functions.affine[:, :, :2], ord=2, axis=(1, 2)) < 1).all()


def test_same_bytes_for_any_number_of_images_and_processes(tmp_path):
    assert write_fractals(tmp_path / 'one', 3, 32, seed=1) == 3
    assert write_fractals(tmp_path / 'two', 5, 32, seed=1, nproc=2) == 5
    one, two = digests(tmp_path / 'one'), digests(tmp_path / 'two')
    assert sorted(one) == ['00000.jpg', '00001.jpg', '00002.jpg', 'fractals.json']
    assert {name: two[name] for name in one} == one and len(set(two.values())) == 6
    write_fractals(tmp_path / 'other', 3, 32, seed=2)
    assert not set(digests(tmp_path / 'other').values()) & set(one.values())


def test_what_is_missing_or_cut_off_is_made_again(tmp_path):
    write_fractals(tmp_path, 3, 32)
    before = digests(tmp_path)
    whole = (tmp_path / '00000.jpg').stat().st_mtime_ns
    (tmp_path / '00001.jpg').unlink()
    data = (tmp_path / '00002.jpg').read_bytes()
    (tmp_path / '00002.jpg').write_bytes(data[: len(data) // 2])
    assert write_fractals(tmp_path, 3, 32) == 2
    assert digests(tmp_path) == before
    assert (tmp_path / '00000.jpg').stat().st_mtime_ns == whole
    assert write_fractals(tmp_path, 4, 32) == 1


def test_sets_are_not_mixed(tmp_path):
    write_fractals(tmp_path / 'a', 1, 32)
    with pytest.raises(FileExistsError, match=r"'seed': 0\}, asked for .*'seed': 1\}"):
        write_fractals(tmp_path / 'a', 1, 32, seed=1)
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/x.jpg').touch()
    with pytest.raises(FileExistsError, match='not from this tool'):
        write_fractals(tmp_path / 'photos', 1, 32)


@pytest.mark.parametrize('options', [dict(images=0), dict(size=16), dict(seed=-1), dict(nproc=0)])
def test_bad_arguments_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match='at least'):
        write_fractals(tmp_path, **{'images': 1, 'size': 32, **options})


def test_the_script(tmp_path, run_here, capsys):
    arguments = [tmp_path / 'fractals', '--images', 2, '--size', 40, '--nproc', 2]
    run_here('misc/make_fractals.py', *arguments)
    assert f'2 fractals written to {tmp_path}/fractals, 0 were there' in capsys.readouterr().out
    with Image.open(tmp_path / 'fractals/00001.jpg') as image:
        assert image.size == (40, 40) and image.mode == 'RGB'
    assert json.loads((tmp_path / 'fractals/fractals.json').read_text())['size'] == 40
    with pytest.raises(SystemExit, match=r'error: .*other arguments'):
        run_here('misc/make_fractals.py', *arguments, '--seed', 1)


def test_what_is_in_the_way_is_said_at_once(tmp_path):
    write_fractals(tmp_path, 1, 32)
    (tmp_path / '00000.jpg').write_bytes(b'\x89PNG\r\n\x1a\n' + b'x' * 40)  # is made again
    (tmp_path / '00002.jpg').mkdir()
    with pytest.raises(InputError, match=r'00002\.jpg is a directory where an image belongs'):
        write_fractals(tmp_path, 3, 32)
    assert write_fractals(tmp_path, 2, 32) == 2
    (tmp_path / 'fractals.json').write_text('{')
    with pytest.raises(InputError, match=r'fractals\.json is damaged'):
        write_fractals(tmp_path, 2, 32)
