"""One grammar of arguments for all scripts; what users typed before means the same."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from submission import _SERVERS

from soma.checkpoints.combine import OPERATIONS
from soma.checkpoints.export.peft import NAMES
from soma.datasets.prepare.layouts import LAYOUTS
from soma.inference.outputs import KINDS
from soma.models.backbones.dinov2_weights import POS_EMBED_INTERP
from soma.models.segmentors.ensemble import OPERATIONS as ENSEMBLES
from soma.utils.cli import ScriptParser

TOOLS = Path(__file__).parents[1] / 'tools'

# Command lines that mean the same, by script; the first gives every file by its name.
SAME = {
    'train.py': ['--config c.py', 'c.py'],
    'train_average.py': ['--config c.py', 'c.py'],
    'test_ensemble.py': [
        '--config c.py --checkpoints a.pth b.pth --base b.pth --operation logits',
        'c.py a.pth b.pth --backbone b.pth --operation logits',
        '--operation logits c.py --pretrained b.pth --adapters a.pth b.pth',
        'c.py --backbone_ckpt b.pth a.pth b.pth --method add',
        '--config c.py --base b.pth a.pth b.pth --method=add',
    ],
    'test.py': [
        '--config c.py --checkpoint f.pth --base b.pth --out o --show-dir s',
        'c.py f.pth --base b.pth --out o --show-dir s',
        'c.py --out o f.pth --show-dir s --backbone b.pth',
        'c.py --adapter f.pth --backbone_ckpt b.pth --out o --show-dir s',
        '--checkpoint f.pth --pretrained b.pth --out o c.py --show-dir s',
    ],
    'visualize.py': [
        '--config c.py --checkpoint f.pth --image i --base b.pth --out o',
        'c.py f.pth i --base b.pth --out o',
        'c.py f.pth i --backbone b.pth --save-dir o',
        'c.py i --adapter f.pth --backbone_ckpt b.pth --save_dir o',
        'c.py --images i f.pth --pretrained b.pth --out o',
    ],
    'predict.py': [
        '--config c.py --checkpoint f.pth --source i v.mp4 --base b.pth --out o',
        'c.py f.pth i v.mp4 --base b.pth --out o',
        'c.py i v.mp4 --adapter f.pth --backbone b.pth --out o',
        'c.py --sources i v.mp4 --checkpoint f.pth --pretrained b.pth --out o',
    ],
    'webui.py': [
        '--config c.py --checkpoint f.pth --base b.pth --compare g.pth',
        'c.py f.pth --backbone b.pth --compare g.pth',
        'c.py --compare g.pth --adapter f.pth --pretrained b.pth',
    ],
    'analysis_tools/benchmark.py': [
        '--config c.py --checkpoint f.pth --out s.json',
        'c.py f.pth --out s.json',
        'c.py --adapter f.pth --out s.json',
    ],
    'analysis_tools/analyze_spectrum.py': [
        '--checkpoint f.pth --base b.pth --against a.pth --out o',
        'f.pth --backbone b.pth --against a.pth --out o',
        '--adapter f.pth --backbone_ckpt b.pth --against a.pth --out o',
        'f.pth --pretrained b.pth --against a.pth --out o',
    ],
    'analysis_tools/get_flops.py': ['--config c.py', 'c.py'],
    'analysis_tools/compare.py': [
        '--tests a b --names x y --out o',
        'a b --names x y --out o',
        '--out o --names x y --tests a b',
    ],
    'download.py': ['camvid sam_vit_b --out o', '--out o camvid sam_vit_b'],
    'push_to_hub.py': [
        '--checkpoint f.pth --repo u/n --licence mit --to o',
        'f.pth u/n --license mit --to o',
    ],
    'sweep.py': ['--config c.py --work-dir w --param=a=1', 'c.py --param=a=1 --work-dir w'],
    'new_config.py': ['--data d --out o.py --method lora', 'd --method lora --out o.py'],
    'check_data.py': ['--config c.py --out o --nproc 2', 'c.py --out o --nproc 2'],
    'pack_data.py': ['--root d --out o --nproc 2', 'd o --nproc 2'],
    'extract_soma_weights.py': [
        '--checkpoint f.pth --out a.pth',
        '--final_ckpt f.pth --soma_ckpt a.pth',
        'f.pth --out a.pth',
    ],
    'merge_soma_weights.py': [
        '--base b.pth --adapter a.pth --out m.pth',
        '--backbone_ckpt b.pth --soma_ckpt a.pth --merged_ckpt m.pth',
        '--backbone b.pth --rein_head a.pth --segmentor_save_path m.pth',
        '--backbone b.pth --rein_head a.pth --dinov2_segmentor_path m.pth',
        '--pretrained b.pth --checkpoint a.pth --out m.pth',
    ],
    'model_reparameterization.py': [
        '--checkpoints a.pth b.pth --out o.pth',
        'o.pth --checkpoints a.pth b.pth',
        'o.pth --checkpoint a.pth b.pth',
        '--adapters a.pth b.pth --out o.pth',
        'o.pth --adapter a.pth b.pth',
    ],
    'export_adapter.py': [
        '--adapter a.pth --base b.pth --out o --to peft',
        'a.pth o --to peft --backbone b.pth',
        '--checkpoint a.pth o --to peft --backbone_ckpt b.pth',
        'a.pth --to peft o --pretrained b.pth',
    ],
    'convert_models/convert_dinov2.py': [
        '--base b.pth --out o.pth --patch-size 14',
        'b.pth o.pth --kernel 14',
        '--backbone b.pth --converted o.pth --patch-size 14',
        '--pretrained b.pth o.pth --patch-size 14',
        'o.pth --backbone_ckpt b.pth --patch-size 14',
    ],
    'misc/pack_submission.py': [
        'acdc --predictions p --data d --out o.zip',
        'acdc p d o.zip',
        'acdc p d --out o.zip',
    ],
    'misc/make_fractals.py': ['--out o --images 5', 'o --images 5'],
    'misc/print_config.py': [
        '--config c.py --out o.py',
        'c.py --out o.py',
        'c.py --save-path o.py',
    ],
    'misc/browse_dataset.py': ['--config c.py --out o', 'c.py --out o', 'c.py --output-dir o'],
    **{
        f'convert_datasets/{name}.py': ['--root d --out o', 'd --out o']
        for name in (
            *('acdc', 'bdd100k', 'cityscapes', 'coco', 'diverse_weather', 'gta', 'mapillary'),
            *('synthia', 'urbansyn', 'dark_zurich', 'foggy_zurich', 'idd', 'muses'),
            *('camvid', 'night_driving', 'yolo'),
        )
    },
}
# Scripts that run under the name that they had, or that a release has for them.
MOVED = {
    'convert_models/convert_dinov2_sora.py': 'convert_models/convert_dinov2.py',
    'generate_full_weights.py': 'merge_soma_weights.py',
    'analyze_spectrum.py': 'analysis_tools/analyze_spectrum.py',
    'benchmark.py': 'analysis_tools/benchmark.py',
    'make_fractals.py': 'misc/make_fractals.py',
    'pack_submission.py': 'misc/pack_submission.py',
}
# Other options that there have been, which must stay.
OPTIONS = {
    'train.py': '--work-dir --cfg-options --trust --launcher --local_rank --local-rank --resume '
    '--amp',
    'test.py': '--work-dir --cfg-options --trust --launcher --local_rank --local-rank --force '
    '--test-data --out --show --wait-time --show-dir --tta --corruptions --severities --reference',
    'predict.py': '--save --ids --score-thr --opacity --every --frames --batch --amp --compile '
    '--tta --device --overwrite --force --trust',
    'visualize.py': '--suffix --score-thr --device --force --trust',
    'analysis_tools/benchmark.py': '--phase --batch-size --iters --warmup --size --amp '
    '--cfg-options --trust',
    'analysis_tools/analyze_spectrum.py': '--force --rank --layers --trust',
    'download.py': '--url --list',
    'sweep.py': '--trials --score --prune-after --jobs --amp --cluster --slurm --trust',
    'check_data.py': '--fix-list --cfg-options',
    'pack_data.py': '--only --shard-mb',
    'extract_soma_weights.py': '--target_modules --target-modules --part --alpha --trust',
    'merge_soma_weights.py': '--config --force --keep-adapter --alpha --trust',
    'model_reparameterization.py': '--weights-filter --operation --factors --rank --cpu-only '
    '--force --trust --no-warnings',
    'export_adapter.py': '--to --force --base-model --base-name --config --window --opset --trust',
    'convert_models/convert_dinov2.py': '--height --width --pos-embed-interp --prefix --trust',
    'misc/make_fractals.py': '--size --seed --nproc',
    'convert_datasets/gta.py': '--nproc --subset --seed',
}


@pytest.fixture(autouse=True)
def _only_parse(monkeypatch):
    """Configs need not be there, what lies beside a script is found."""
    monkeypatch.setattr('soma.utils.cli.check_config_file', Path)
    monkeypatch.syspath_prepend(TOOLS / 'convert_datasets')


@pytest.fixture
def parse(monkeypatch):
    """What a script parses of a command line; it goes no further."""

    class Parsed(Exception):
        pass

    original = ScriptParser.parse_args

    def stop(self):
        raise Parsed(vars(original(self)))

    monkeypatch.setattr(ScriptParser, 'parse_args', stop)

    def parse(script, line):
        monkeypatch.setattr(sys, 'argv', [script, *line.split()])
        with pytest.raises(Parsed) as caught:
            runpy.run_path(str(TOOLS / script), run_name='__main__')
        return caught.value.args[0]

    return parse


def test_no_script_is_forgotten():
    others = {'install.py'}  # which runs before anything is there
    files = [file for file in TOOLS.rglob('*.py') if '__main__' in file.read_text()]
    scripts = {file.relative_to(TOOLS).as_posix() for file in files}
    assert scripts - others == {*SAME, *MOVED}


@pytest.mark.parametrize('script', MOVED)
def test_a_moved_script_runs_under_its_old_name(script):
    """With all of its arguments, one with a space among them."""
    for arguments in (['--help'], ['a b', 'c', 'd', 'e']):
        old, new = (
            subprocess.run(
                [sys.executable, TOOLS / file, *arguments], capture_output=True, text=True
            )
            for file in (script, MOVED[script])
        )
        assert old.stdout == new.stdout and old.stderr == new.stderr
        assert old.returncode == new.returncode == (0 if arguments == ['--help'] else 2)
        assert 'usage' in old.stdout + old.stderr


@pytest.mark.parametrize('script', SAME)
def test_every_spelling_means_the_same(parse, script):
    first, *others = SAME[script]
    expected = parse(script, first)
    given = [word for word in first.split() if not word.startswith('--')]
    assert all(word in str(expected) for word in given)
    assert not any(name.endswith('_by_place') for name in expected)
    for line in others:
        assert parse(script, line) == expected, line


@pytest.mark.parametrize('script', SAME)
def test_help_lists_every_name(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(TOOLS / script), run_name='__main__')
    names = re.findall(r'--[\w-]+', capsys.readouterr().out)
    expected = re.findall(r'--[\w-]+', ' '.join([*SAME[script], OPTIONS.get(script, '')]))
    assert set(expected) <= set(names)


def test_help_and_a_missing_config_need_neither_torch_nor_mmengine():
    """In a process of its own, since here they are there already."""
    code = """
import contextlib, io, runpy, sys
lines = {script: ['--help'] for script in sys.argv[1:]}
for script, line in [*lines.items(), (sys.argv[1], ['nowhere.py'])]:
    sys.argv, sys.path[0] = [script, *line], script.rpartition('/')[0]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_path(script, run_name='__main__')
        except SystemExit as end:
            message = end.code
    heavy = {'torch', 'mmengine', 'mmcv', 'cv2', 'numpy', 'timm', 'rich'} & sys.modules.keys()
    assert not heavy, (script, heavy)
assert message == 'error: no config file nowhere.py', message
"""
    scripts = [str(TOOLS / script) for script in SAME]
    done = subprocess.run([sys.executable, '-c', code, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ('script', 'line', 'message'),
    [
        ('train.py', '', 'required: config (or --config)'),
        ('test.py', 'c.py', 'required: checkpoint (or --checkpoint)'),
        ('test.py', '--base b.pth', 'required: config (or --config), checkpoint (or --checkpoint)'),
        ('test.py', 'c.py f.pth --checkpoint g.pth', "'f.pth' is one too many beside --checkpoint"),
        ('test.py', 'c.py --adapter f.pth --checkpoint g.pth', 'checkpoint is f.pth already'),
        ('test.py', 'c.py f.pth --base a.pth --backbone b.pth', 'base is a.pth already'),
        ('test_ensemble.py', 'c.py', 'required: checkpoints (or --checkpoints)'),
        ('test_ensemble.py', 'c.py a.pth --adapter b.pth', "'a.pth' is one too many"),
        ('test_ensemble.py', 'c.py a.pth', 'name two checkpoints or more; tools/test.py tests one'),
        ('test_ensemble.py', 'c.py a.pth b.pth ./a.pth', './a.pth is given twice'),
        ('test_ensemble.py', 'c.py a.pth --operation mul --method add', '--method: not allowed'),
        ('visualize.py', 'c.py f.pth', 'required: image (or --image)'),
        ('visualize.py', 'c.py f.pth i --image j', "'i' is one too many beside --image"),
        ('predict.py', 'c.py f.pth', 'required: source (or --source)'),
        ('predict.py', 'f.pth', 'required: source (or --source)'),
        ('webui.py', 'c.py f.pth --compare-config d.py', '--compare-config belongs to --compare'),
        ('webui.py', 'c.py f.pth --max-mb 0', '--max-mb must be at least 1'),
        ('merge_soma_weights.py', '--base b.pth --out m.pth', 'required: --adapter'),
        ('model_reparameterization.py', 'o.pth --out p.pth --checkpoints a.pth', "'o.pth' is one"),
        ('misc/pack_submission.py', 'bdd p d o.zip', "invalid choice: 'bdd'"),
        ('convert_datasets/gta.py', '', 'required: root (or --root)'),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(script, line, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [script, *line.split()])
    with pytest.raises(SystemExit, match='2'):
        runpy.run_path(str(TOOLS / script), run_name='__main__')
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('script', 'option', 'choices'),
    [
        ('model_reparameterization.py', '--operation', OPERATIONS),
        ('test_ensemble.py', '--operation', ENSEMBLES),
        ('export_adapter.py', '--base-model', NAMES),
        ('convert_models/convert_dinov2.py', '--pos-embed-interp', POS_EMBED_INTERP),
        ('misc/pack_submission.py', '', _SERVERS),
        ('predict.py', '--save', KINDS),
    ],
)
def test_choices_are_those_of_the_package(script, option, choices, monkeypatch, capsys):
    """They are written in the scripts, too, so that ``--help`` need not import the package."""
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(TOOLS / script), run_name='__main__')
    (listed,) = set(re.findall(rf'{option} ?\{{(.*?)\}}', capsys.readouterr().out))
    assert listed.split(',') == list(choices)


def test_a_config_can_be_left_out_of_a_prediction(parse):
    expected = parse('predict.py', '--checkpoint f.pth --source i j')
    assert expected['config'] is None and expected['source'] == ['i', 'j']
    for line in ('f.pth i j', 'i j --checkpoint f.pth', '--checkpoint f.pth i j'):
        assert parse('predict.py', line) == expected


@pytest.mark.parametrize('script', [name for name in SAME if name.startswith('convert_datasets')])
def test_a_subset_is_for_what_can_be_trained_on(parse, script, capsys):
    layout = LAYOUTS.get(parse(script, 'd')['dataset'])
    if layout and layout.train:
        assert parse(script, 'd --subset 1/2 --seed 3')['seed'] == 3
        return
    with pytest.raises(SystemExit, match='2'):
        parse(script, 'd --subset 1/2')
    assert 'unrecognized arguments: --subset 1/2' in capsys.readouterr().err
