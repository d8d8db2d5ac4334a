import json
import subprocess
import sys

NAMES = {
    'MODELS': ['AdaptedBackbone', 'DINOv2', 'CoDETR', 'LeanChannelMapper', 'WindowEncoderDecoder'],
    'HOOKS': ['BlockFreezeHook', 'WeightDecayLoggerHook', 'DrawPredictionsHook'],
    'PARAM_SCHEDULERS': ['CosineAnnealingWeightDecay'],
    'OPTIM_WRAPPER_CONSTRUCTORS': ['GroupedOptimWrapperConstructor'],
    'METRICS': ['DomainIoUMetric', 'DomainVOCMetric'],
    'DATASETS': ['DomainDataset', 'DomainVOCDataset'],
    'TRANSFORMS': ['PackDomainInputs', 'PackDomainDetInputs', 'PixMix', 'BilateralFilter'],
    'RUNNERS': ['SomaRunner'],
}


def python(program, folder):
    """Run a program in a fresh process; what it printed last, as JSON."""
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_import_only_registers(tmp_path):
    program = f"""
import json, os, sys, warnings
import cv2, numpy, torch  # OpenCV sets a variable of its own
before = dict(os.environ), os.getcwd(), list(sys.path), torch.get_num_threads()
seed = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    import soma
after = dict(os.environ), os.getcwd(), list(sys.path), torch.get_num_threads()
again = numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
from mmengine import registry
print(json.dumps(dict(
    ours=[str(w) for w in caught if w.filename.startswith(os.path.dirname(soma.__file__))],
    theirs=[str(w.message) for w in caught],
    same=before == after,
    seed=seed == again,
    missing=[
        name
        for kind, names in {NAMES!r}.items()
        for name in names
        if not getattr(registry, kind).module_dict.get(name, object).__module__.startswith('soma.')
    ],
)))
"""
    result = python(program, tmp_path)
    assert result['ours'] == []
    assert not any('Fail to import' in w for w in result['theirs'])  # operators that mmcv misses
    assert result['same'] and result['seed'] and result['missing'] == []
    assert list(tmp_path.iterdir()) == []


def test_custom_imports_make_the_names_known_in_any_scope(tmp_path):
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
    assert python(program, tmp_path) == ['DINOv2', 'DINOv2']
