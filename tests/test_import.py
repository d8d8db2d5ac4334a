"""What ``import soma`` does, and when: each in a process of its own, or in a copy of one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = {
    'MODELS': [
        *('AdaptedBackbone', 'DINOv2', 'CoDETR', 'LeanChannelMapper', 'WindowEncoderDecoder'),
        *('SegFormerMiT', 'PlainSegformerHead', 'SegmentorEnsemble'),
    ],
    'HOOKS': ['BlockFreezeHook', 'WeightDecayLoggerHook', 'DrawPredictionsHook', 'SeedHook'],
    'PARAM_SCHEDULERS': ['CosineAnnealingWeightDecay'],
    'OPTIM_WRAPPER_CONSTRUCTORS': ['GroupedOptimWrapperConstructor'],
    'METRICS': ['DomainIoUMetric', 'DomainVOCMetric'],
    'DATASETS': ['DomainDataset', 'DomainVOCDataset', 'DomainCocoDataset'],
    'TRANSFORMS': ['PackDomainInputs', 'PackDomainDetInputs', 'PixMix', 'BilateralFilter'],
    'RUNNERS': ['SomaRunner'],
}
MISSING = f"""
def missing():
    from mmengine import registry
    return [
        name
        for kind, names in {NAMES!r}.items()
        for name in names
        if not getattr(registry, kind).module_dict.get(name, object).__module__.startswith('soma.')
    ]
"""


# Runs programs in copies of itself: what OpenMMLab imports from elsewhere is there already.
SERVER = """
import json, os, sys
import cv2, imgaug, matplotlib.pyplot, numpy, scipy.optimize, timm, torch.distributed.optim
print(json.dumps('ready'), flush=True)
for line in sys.stdin:
    program, folder, output = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            file = os.open(output, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, 1), os.dup2(file, 2)
            os.chdir(folder)
            sys.path[0] = ''
            exec(program, {'__name__': '__main__'})
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(json.dumps(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope='module')
def server():
    command = [sys.executable, '-c', SERVER]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, **pipes) as process:
        assert json.loads(process.stdout.readline()) == 'ready'
        yield process
        process.stdin.close()


@pytest.fixture
def python(server, tmp_path, tmp_path_factory):
    """Run a program in a fresh copy; the lines that it printed, the last as JSON."""
    output = tmp_path_factory.mktemp('output') / 'output.txt'

    def run(program):
        server.stdin.write(json.dumps([program, str(tmp_path), str(output)]) + '\n')
        server.stdin.flush()
        failed = json.loads(server.stdout.readline())
        assert not failed, output.read_text()
        *lines, last = output.read_text().splitlines()
        return lines, json.loads(last)

    return run


def test_import_only_registers(python, tmp_path):
    program = f"""
import json, os, sys, warnings
from importlib.util import find_spec
import cv2, numpy, torch  # OpenCV sets a variable of its own
{MISSING}
def openmmlab():
    return [n for n in sys.modules if n.split('.')[0] in ('mmengine', 'mmcv', 'mmseg', 'mmdet')]
def state():
    return dict(os.environ), os.getcwd(), list(sys.path), torch.get_num_threads()
def seeds():
    return numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
before, seed = state(), seeds()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    import soma.adapters, soma.io.checkpoint_files, soma.utils.config, soma.utils.cli, soma.ops
    early = openmmlab()
    looked_for = find_spec('mmengine') is not None
    early += openmmlab()
    import mmengine
from mmcv.ops import multi_scale_deform_attn as attention
print(json.dumps(dict(
    early=early,
    looked_for=looked_for,
    finders=[str(f) for f in sys.meta_path if type(f).__module__ == 'soma.registration'],
    ours=[str(w) for w in caught if w.filename.startswith(os.path.dirname(soma.__file__))],
    theirs=[str(w.message) for w in caught],
    same=before == state(),
    seed=seed == seeds(),
    formula=attention.multi_scale_deformable_attn_pytorch.__module__,
    missing=missing(),
)))
"""
    lines, result = python(program)
    assert lines == []  # nothing of packages that are optional to mmseg and mmdet
    assert result['looked_for'] and result['early'] == [] and result['finders'] == []
    assert result['ours'] == []
    assert not any('Fail to import' in w for w in result['theirs'])  # operators that mmcv misses
    assert result['same'] and result['seed'] and result['missing'] == []
    assert result['formula'].startswith('mmcv.')  # for a script that has only imported soma
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_and_a_comparison_of_tests_need_no_torch():
    program = """
import json, sys
import soma.utils.cli, soma.utils.config, soma.io.files
sys.path.append('tools/analysis_tools')
import comparison
with soma.utils.cli.command():
    pass
print(json.dumps([name for name in ('torch', 'mmengine', 'cv2') if name in sys.modules]))
"""
    options = dict(cwd=Path(__file__).parents[1], capture_output=True, check=True)
    done = subprocess.run([sys.executable, '-c', program], **options)
    assert json.loads(done.stdout) == []


ORDERS = {
    'import soma; import mmdet.models': [],
    'import soma; from mmcv.ops import nms': [],
    'import mmseg.models, mmdet; import soma': [],
    'from soma.engine import SomaRunner': [],
    'from soma.checkpoints import open_checkpoint': [],
    'sys.modules["mmseg"] = None; from soma.engine import SomaRunner': [
        *('WindowEncoderDecoder', 'DrawPredictionsHook', 'DomainIoUMetric', 'DomainVOCMetric'),
        *('DomainDataset', 'DomainVOCDataset', 'DomainCocoDataset', 'PackDomainInputs'),
        *('PackDomainDetInputs', 'PixMix', 'BilateralFilter'),
        *('SegFormerMiT', 'PlainSegformerHead', 'SegmentorEnsemble'),
    ],
    'sys.modules["mmdet"] = None; import soma, mmengine': [
        *('CoDETR', 'LeanChannelMapper', 'DomainVOCMetric', 'DomainVOCDataset'),
        *('DomainCocoDataset', 'PackDomainDetInputs'),
        'PlainSegformerHead',  # heads come together
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(('order', 'missing'), ORDERS.items())
def test_any_order_of_imports_registers_what_can_be(python, order, missing):
    program = f'import json, sys; {order}\n{MISSING}\nprint(json.dumps(missing()))'
    assert sorted(python(program)[1]) == sorted(missing)


def test_without_mmengine(python):
    program = """
import json, sys
sys.modules['mmengine'] = None
import soma, soma.adapters
try:
    import soma.checkpoints
except ModuleNotFoundError as error:
    print(json.dumps(str(error)))
"""
    assert 'mmengine' in python(program)[1]


@pytest.mark.parametrize(
    ('order', 'complete'),
    [
        ('import mmdet', ['mmcv', 'mmdet', 'mmengine']),
        ('import mmcv', ['mmcv', 'mmengine']),
        ('import mmengine.part', ['mmengine']),
        ('import mmseg', ['mmcv', 'mmdet', 'mmengine', 'mmseg']),
        ('find_spec("mmseg"); find_spec("mmcv"); import mmcv', ['mmcv', 'mmengine']),
        ('find_spec("mmengine")', None),
        ('import json', None),
        # one that fails is not the end of waiting
        ('fails("mmpretrain"); import mmdet', ['mmcv', 'mmdet', 'mmengine']),
    ],
)
def test_registers_after_the_outermost_import(python, tmp_path, order, complete):
    """On small packages that import each other."""
    imports = {
        'mmengine': '',
        'mmcv': 'import mmengine',
        'mmdet': 'import mmengine, mmcv',
        'mmseg': 'import mmcv, mmdet',
        'mmpretrain': 'import mmcv, nothing',
    }
    for name, line in imports.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text(f'{line}\ncomplete = True\n')
    (tmp_path / 'mmengine/part.py').touch()
    program = f"""
import json, sys
from importlib import import_module
from importlib.util import find_spec
import soma.registration
sys.path.insert(0, '.')
calls = []
def note():
    half = [n for n in {list(imports)!r} if not hasattr(sys.modules.get(n, json), 'complete')]
    calls.append(sorted(n for n in {list(imports)!r} if n in sys.modules and n not in half))
def fails(name):
    try:
        import_module(name)
    except ModuleNotFoundError:
        return
    raise AssertionError(name)
soma.registration._ROOMS, soma.registration.install_ops = {{}}, note
{order}
import_module('json')
soma.registration.register() if calls else None
print(json.dumps(calls))
"""
    _, calls = python(program)
    assert calls == ([complete] if complete else [])


def test_a_package_that_does_not_import_is_told_of_each_time(python):
    program = """
import json
import soma.registration
soma.registration._ROOMS, soma.registration.install_ops = {'nowhere': ()}, lambda: None
missing = []
for _ in range(2):
    try:
        soma.registration.register()
    except ModuleNotFoundError as error:
        missing.append(error.name)
print(json.dumps(missing))
"""
    assert python(program) == ([], ['soma.nowhere'] * 2)


def test_custom_imports_make_the_names_known_in_any_scope(python, tmp_path):
    (tmp_path / 'config.py').write_text(
        "custom_imports = dict(imports=['soma'], allow_failed_imports=False)\n"
        "model = dict(type='DINOv2', arch='small', adapter=dict(type='SoMA', rank=4))\n"
    )
    program = """
import json, sys
from mmengine.config import Config
from mmengine.registry import init_default_scope
assert 'soma' not in sys.modules
config = Config.fromfile('config.py')
import mmdet.registry, mmseg.registry
built = []
for scope, registry in (('mmseg', mmseg.registry), ('mmdet', mmdet.registry)):
    init_default_scope(scope)
    built.append(type(registry.MODELS.build(config.model)).__name__)
print(json.dumps(built))
"""
    assert python(program) == ([], ['DINOv2', 'DINOv2'])
