import copy
import importlib
import importlib.util
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import mmcv.ops
import pytest

from soma.ops import extension, install_ops

REPOSITORY = Path(__file__).parents[2]
# The stand-in alone: the rest of soma imports mmcv, which some of these tests replace.
PREAMBLE = f"""
import sys, types, warnings
warnings.simplefilter('error')
soma = sys.modules['soma'] = types.ModuleType('soma')
soma.__path__ = [{str(REPOSITORY / 'soma')!r}]
from soma.ops import install_ops
"""

stand_in = pytest.mark.skipif(
    sys.modules['mmcv._ext'] is not extension, reason="mmcv's compiled module is in use"
)


def python(code, path=REPOSITORY, preamble=PREAMBLE):
    """Runs code in a new interpreter, in and with the packages of ``path``."""
    run = subprocess.run(
        [sys.executable, '-c', preamble + textwrap.dedent(code)],
        cwd=path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def fake_mmcv(tmp_path):
    package = tmp_path / 'mmcv'
    package.mkdir()
    (package / '__init__.py').touch()
    return package


@pytest.mark.slow
def test_a_module_that_loads_is_left_alone(fake_mmcv):
    (fake_mmcv / '_ext.py').write_text('marker = 1')
    python(
        """
        install_ops()
        assert sys.modules['mmcv._ext'].marker == 1
        """,
        fake_mmcv.parent,
    )


@pytest.mark.slow
def test_a_module_that_does_not_load_is_replaced_with_a_warning(fake_mmcv):
    (fake_mmcv / '_ext.so').write_bytes(b'built for another torch')
    python(
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            install_ops()
            install_ops()
        messages = [str(w.message) for w in caught if 'mmcv' in str(w.message)]
        assert len(messages) == 1 and '_ext.so' in messages[0], messages
        assert sys.modules['mmcv._ext'].__name__ == 'soma.ops.extension'
        """,
        fake_mmcv.parent,
    )


def test_without_a_module_ours_is_registered_and_nothing_is_imported(fake_mmcv):
    python(
        """
        before = set(sys.modules)
        install_ops()
        install_ops()
        added = {name.split('.')[0] for name in set(sys.modules) - before}
        assert sys.modules['mmcv._ext'].__name__ == 'soma.ops.extension'
        assert not added & {'torch', 'torchvision', 'numpy'} and 'mmcv' not in sys.modules
        from mmcv import _ext
        assert _ext is sys.modules['mmcv._ext']
        """,
        fake_mmcv.parent,
    )


def test_it_becomes_an_attribute_of_an_imported_mmcv(fake_mmcv):
    python('import mmcv; install_ops(); mmcv._ext.nms_rotated', fake_mmcv.parent)


def test_without_mmcv_nothing_happens(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    install_ops()
    assert 'mmcv._ext' not in sys.modules


@pytest.mark.slow
@stand_in
def test_mmdet_and_mmseg_import_with_it():
    python(
        """
        from soma.ops import install_ops
        install_ops()
        import mmdet.models, mmseg.models
        from mmcv.utils import collect_env
        assert collect_env()['MMCV Compiler'] == 'not compiled'
        """,
        preamble='',
    )


@stand_in
def test_the_environment_is_described():
    assert mmcv.ops.get_compiler_version() == 'not compiled'
    assert mmcv.ops.get_compiling_cuda_version() == 'not compiled'


@stand_in
def test_the_import_system_finds_it():
    assert importlib.util.find_spec('mmcv._ext').loader is not None
    assert importlib.import_module('mmcv._ext') is extension
    install_ops()
    assert sys.modules['mmcv._ext'] is extension


@pytest.mark.parametrize('name', ['roi_pool_forward', 'filtered_lrelu_act_'])
def test_a_missing_operator_passes_for_present_and_says_what_to_do_when_called(name):
    assert hasattr(extension, name)
    assert getattr(extension, name) is getattr(extension, name)
    with pytest.raises(NotImplementedError, match=rf"'{name}'.*--no-build-isolation"):
        getattr(extension, name)(1, key=2)


@pytest.mark.parametrize('name', ['__path__', '__wrapped__', '_is_coroutine_marker'])
def test_underscored_names_are_missing(name):
    with pytest.raises(AttributeError, match=name):
        getattr(extension, name)


def test_operators_can_be_pickled():
    assert pickle.loads(pickle.dumps(extension.nms)) is extension.nms
    assert copy.deepcopy(extension.roi_align_forward) is extension.roi_align_forward
