"""The parts of tools/install.py that decide something; nothing here calls pip or the network."""

import importlib.util
import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PYTHONS = ('3.10', '3.11', '3.12')


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location('soma_install', ROOT / 'tools/install.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path):
    for name in ('pyproject.toml', 'requirements.txt', 'constraints.txt', 'tools/install.py'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def main(script, repository, monkeypatch):
    """The script's main() in an empty repository, where every download is a failure."""

    def no_download(title, command, **_):
        raise AssertionError(f'{title}: {command}')

    monkeypatch.setattr(script, '__file__', str(repository / 'tools/install.py'))
    monkeypatch.setattr(script, 'run', no_download)
    monkeypatch.setattr(sys, 'argv', ['install.py'])
    return script.main


def requirements(text):
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def one_line(captured):
    assert captured.out == ''
    assert captured.err.count('\n') == 1
    return captured.err


@pytest.mark.parametrize('version', [(3, 10, 1), (3, 11, 7), (3, 12, 0)])
def test_supported_python(script, version):
    script.check_python(version)


@pytest.mark.parametrize('version', [(3, 9, 18), (3, 13, 0), (2, 7, 18)])
def test_wrong_python_names_the_fix(main, monkeypatch, capsys, version):
    monkeypatch.setattr(sys, 'version_info', version)
    assert main() == 1
    assert 'make install PYTHON=python3.1' in one_line(capsys.readouterr())


def test_missing_venv_module_names_the_fix(main, script, monkeypatch, capsys):
    monkeypatch.setattr(script, 'find_spec', lambda name: None if name == 'ensurepip' else name)
    assert main() == 1
    assert 'sudo apt-get install python3.' in one_line(capsys.readouterr())


def test_full_disk_names_place_and_amounts(main, script, repository, monkeypatch, capsys):
    usage = namedtuple('usage', 'free')(script.GIB)
    monkeypatch.setattr(script.shutil, 'disk_usage', lambda path: usage)
    assert main() == 1
    line = one_line(capsys.readouterr())
    assert str(repository) in line and '1.0 GB' in line and '9 GB' in line


def test_failed_install_leaves_no_stamp(main, script, repository, monkeypatch):
    def fail(root, venv, torch_spec, extras):
        raise script.SetupError('no network')

    stamp = repository / '.venv/.soma-install'
    stamp.parent.mkdir()
    stamp.write_text('{"inputs": "old", "torch_spec": ""}')
    monkeypatch.setattr(script, 'install', fail)
    assert main() == 1
    assert not stamp.exists()


def test_second_run_does_nothing(main, script, repository, monkeypatch):
    def install(root, venv, torch_spec, extras):
        calls.append(torch_spec)
        (venv / 'bin').mkdir(parents=True, exist_ok=True)
        (venv / 'bin/python').touch()

    calls = []
    monkeypatch.setattr(script, 'install', install)
    pair = 'torch==2.15.0 torchvision==0.29.2'
    for torch_spec in ('', '', pair, f' {pair} ', ''):
        monkeypatch.setattr(sys, 'argv', ['install.py', '--torch-spec', torch_spec])
        assert main() == 0
    # the same pair, or none named, accepts what is there
    assert calls == ['', pair]

    (repository / '.venv/bin/python').unlink()
    assert main() == 0
    assert calls == ['', pair, '']


def test_what_the_tests_need_comes_when_it_is_asked_for(main, script, repository, monkeypatch):
    def install(root, venv, torch_spec, extras):
        calls.append(extras)
        (venv / 'bin').mkdir(parents=True, exist_ok=True)
        (venv / 'bin/python').touch()

    calls = []
    monkeypatch.setattr(script, 'install', install)
    for extras in ([], ['dev'], [], ['dev'], ['docs'], ['dev']):
        options = [f'--extra={extra}' for extra in extras]
        monkeypatch.setattr(sys, 'argv', ['install.py', *options])
        assert main() == 0
    assert calls == [set(), {'dev'}, {'dev', 'docs'}]  # and stays where it is


def test_unusable_python(script, tmp_path):
    assert not script.is_usable(tmp_path / 'python')
    (tmp_path / 'python').symlink_to(tmp_path / 'gone')
    assert not script.is_usable(tmp_path / 'python')


def test_fingerprint_follows_what_matters(script, repository):
    def changed(name, old, new):
        path = repository / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        different = script.fingerprint(repository, (3, 11)) != before
        path.write_text(text)
        return different

    before = script.fingerprint(repository, (3, 11))
    assert script.fingerprint(repository, (3, 11)) == before
    assert script.fingerprint(repository, (3, 12)) != before
    assert changed('requirements.txt', 'ftfy', 'ftfy>=6')
    assert changed('constraints.txt', 'ftfy==6', 'ftfy==7')
    assert changed('pyproject.toml', '"timm>=1.0.26"', '"timm>=1.1"')
    assert not changed('pyproject.toml', 'line-length = 100', 'line-length = 99')


def test_constraints_with_another_torch(script):
    text = script.constraints(ROOT, ['torch==9.0.0', 'torchvision==8.0.0'])
    pins = {(r.name, str(r.marker)): str(r.specifier) for r in requirements(text)}
    assert pins[('torch', 'None')] == '==9.0.0'
    assert pins[('torchvision', 'None')] == '==8.0.0'
    tested = requirements((ROOT / 'constraints.txt').read_text())
    assert len(pins) == len(tested)


def test_installed_version(script, tmp_path):
    (tmp_path / 'lib/python3.11/site-packages/torch-2.13.0+cpu.dist-info').mkdir(parents=True)
    assert script.installed_version(tmp_path, 'torch') == '2.13.0+cpu'
    assert script.installed_version(tmp_path, 'torchvision') == ''


@pytest.mark.parametrize('python', PYTHONS)
def test_each_requirement_has_one_fitting_constraint(python):
    pins = {}
    for pin in requirements((ROOT / 'constraints.txt').read_text()):
        if pin.marker is None or pin.marker.evaluate({'python_version': python}):
            assert pin.name not in pins
            pins[pin.name] = str(pin.specifier).removeprefix('==')
    for requirement in requirements((ROOT / 'requirements.txt').read_text()):
        assert requirement.specifier.contains(pins[requirement.name])
    assert pins['opencv-python'] == pins['opencv-python-headless']


def test_package_asks_for_nothing_of_openmmlab():
    text = (ROOT / 'pyproject.toml').read_text()
    declared = re.search(r'\ndependencies = \[(.*?)\]', text, re.DOTALL).group(1)
    declared = {Requirement(name) for name in re.findall(r'^ *"([^"]+)"', declared, re.MULTILINE)}
    default = set(requirements((ROOT / 'requirements.txt').read_text()))
    assert declared and declared <= default
    assert not {r.name for r in declared} & {'torch', 'torchvision', 'numpy', 'opencv-python'}
    assert not any('mm' in r.name.replace('timm', '') for r in declared)
